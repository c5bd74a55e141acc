// One of several processes that count up the head of a file store: node head-racer.mjs DIRECTORY ORIGIN STEPS

import { FileHeadStore } from "attestlog/node";

const [directory, origin, steps] = process.argv.slice(2);
const store = new FileHeadStore(directory);
for (let done = 0; done < Number(steps); ) {
  const head = await store.get(origin);
  const next = Buffer.from(String(head ? Number(Buffer.from(head).toString()) + 1 : 1));
  if (await store.replace(origin, head, next)) done++;
}
