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

/** A browser that is closed by whoever asks for it, with further arguments. */
export async function launch(more = []) {
  return chromium.launch(options(more));
}

/** The same with what it keeps in a folder, so that the next one has it; it is one context. */
export async function launchIn(folder) {
  return chromium.launchPersistentContext(folder, options([]));
}

function options(more) {
  if (!existsSync(executablePath)) throw new Error(`there is no ${executablePath}: apt-get install chromium, or set CHROMIUM`);
  return { executablePath, args: [...args, ...more] };
}
