// The page's script: what the tests call stands on globalThis.

import * as attestlog from "attestlog";
import { failureOf, plain, readsWith } from "./reads.js";

const { IndexedDbHeadStore, openCheckpoint, verifyReceipt } = attestlog;

globalThis.read = readsWith(attestlog);

/** The size and the note of the head that is kept. */
globalThis.kept = async (store, origin) => {
  const note = await new IndexedDbHeadStore(store).get(origin);
  return note && new TextDecoder().decode(note);
};

globalThis.opened = async (note, policy) => plain(await openCheckpoint(note, { policy }));

globalThis.verified = async (receipt, bytes, policy) => {
  try {
    const { index, checkpoint } = await verifyReceipt(receipt, new Uint8Array(bytes), { policy });
    return { index: Number(index), size: Number(checkpoint.size) };
  } catch (error) {
    return { failed: failureOf(error) };
  }
};

/** The same as `read`, in a Web Worker. */
globalThis.readInWorker = (client, call) => new Promise((resolve, reject) => {
  const worker = new Worker("/worker.js", { type: "module" });
  worker.onmessage = ({ data }) => {
    worker.terminate();
    resolve(data);
  };
  worker.onerror = (event) => reject(new Error(`the worker failed: ${event.message}`));
  worker.postMessage([client, call]);
});

let advancing;

/** Asks for checkpoints without a pause until `stopAdvancing`, which returns the sizes and the failures. */
globalThis.startAdvancing = (client) => {
  const going = { stopped: false };
  const loop = async () => {
    const outcomes = [];
    while (!going.stopped) outcomes.push(await globalThis.read(client, ["checkpoint"]));
    return outcomes.map(({ head, failed }) => ({ size: head?.size, failed }));
  };
  advancing = { going, outcomes: loop() };
};

globalThis.stopAdvancing = () => {
  advancing.going.stopped = true;
  return advancing.outcomes;
};
