// What only Node has: heads kept in files.

export { FileHeadStore } from "./heads-file.js";
export type { Evidence, HeadStore } from "./heads.js";
