// A module worker with a client of its own. Import maps do not reach workers.

import * as attestlog from "./attestlog/index.js";
import { readsWith } from "./reads.js";

const read = readsWith(attestlog);

globalThis.onmessage = async ({ data: [client, call] }) => globalThis.postMessage(await read(client, call));
