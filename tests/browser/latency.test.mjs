// Low latency: the page plays parts as they are made.

import assert from "node:assert/strict";
import test from "node:test";
import { Rig, film, stats, untilPlayed, untilStats } from "./rig.mjs";

const COPIED = `
[transcode]
ladder = ["source"]
`;

/** Counts in the page what hls.js loads as parts, and how often the video waits for more. */
const watch = (page) =>
  page.evaluate(() => {
    const { hls, video } = window.headwater;
    window.seen = { parts: 0, stalls: 0 };
    hls.on("hlsFragLoaded", (_, { part }) => (window.seen.parts += part ? 1 : 0));
    video.addEventListener("waiting", () => (window.seen.stalls += 1));
  });

for (const [part, most] of [["500ms", 3.0], ["200ms", 2.0]]) {
  test(`parts of ${part} play less than ${most} s behind, without a stall`, async (t) => {
    const rig = Rig.for(t);
    const server = await rig.server(`${COPIED}[segment]\npart = "${part}"\n`);
    rig.push(server, "film", film());
    const page = await rig.open(`${server.http}/film/`);
    await untilPlayed(page);
    // The player catches up to where it wants to be.
    await untilStats(page, `a latency under ${most} s`, (now) => now.latency !== null && now.latency < most);
    await watch(page);
    const now = await untilPlayed(page, 30 * 30);
    const { parts, stalls } = await page.evaluate(() => window.seen);
    const wished = (30_000 / Number.parseInt(part)) * 0.8;
    assert.ok(parts >= wished, `only ${parts} parts of pictures and sound in 30 s`);
    assert.equal(stalls, 0, "it stalled");
    assert.ok(now.latency < most + 0.5, `a latency of ${now.latency} s in the end`);
    t.diagnostic(`latency ${now.latency.toFixed(2)} s, ${parts} parts, buffer ${(await stats(page)).buffer.toFixed(2)} s`);
  });
}
