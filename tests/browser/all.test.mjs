// All of them one after the other, in one process: `node --test` would run the files at once.

await import("./play.test.mjs");
await import("./dash.test.mjs");
await import("./latency.test.mjs");
await import("./publishers.test.mjs");
await import("./list.test.mjs");
await import("./cache.test.mjs");
