// What the package offers: proofs against signed checkpoints, and a client that reads a log and proves what it returns.

export { Checkpoint, openCheckpoint, type Trust } from "./checkpoint.js";
export { Entry } from "./entry.js";
export { type Kind, TamperingError, UncheckedError, UnreadableError, VerificationError } from "./errors.js";
export { type Evidence, type HeadStore, MemoryHeadStore } from "./heads.js";
export { IndexedDbHeadStore } from "./heads-indexeddb.js";
export { LogClient, type LogClientOptions, type Receipt, type Waiting } from "./log-client.js";
export {
  consistencyPaths,
  entriesPaths,
  type Inclusion,
  type Proof,
  type Run,
  type Tile,
  tilePaths,
  verifyConsistency,
  verifyEntries,
  verifyInclusion,
  verifyInclusions,
  verifyReceipt,
  verifyTile,
} from "./proofs.js";
