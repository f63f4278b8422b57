// All of them one after the other, in one process with one browser: `node --test` would run files at once.

import { after } from "node:test";
import { closeBrowser } from "./rig.mjs";

await import("./play.test.mjs");
await import("./publishers.test.mjs");
await import("./list.test.mjs");
await import("./cache.test.mjs");

after(closeBrowser);
