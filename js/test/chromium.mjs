// A real Chromium for tests, Debian's or that of the variable CHROMIUM: no tool downloads one.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A browser that is closed by whoever asks for it. */
export async function launch() {
  if (!existsSync(executablePath)) throw new Error(`there is no ${executablePath}: apt-get install chromium, or set CHROMIUM`);
  return chromium.launch({ executablePath, args });
}
