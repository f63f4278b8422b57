// Publishers come, go and come again; the page that somebody has open needs no reload.

import assert from "node:assert/strict";
import test from "node:test";
import { Rig, SMALL, kill, picture, playsNatively, stats, untilPlayed, untilStats } from "./rig.mjs";

/** Marks the document, so that a reload would be noticed. */
const mark = (page) => page.evaluate(() => (window.isTheSame = true));
const isMarked = (page) => page.evaluate(() => window.isTheSame === true);

const message = (page, text) => page.locator("#message").filter({ hasText: text }).waitFor();

test("a page that is open before the stream starts by itself", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server();
  const page = await rig.open(`${server.http}/live/later/`);
  await mark(page);
  await message(page, "Nobody publishes to live/later");
  assert.equal((await stats(page)).starts, 0);
  await page.getByText("rtmp://127.0.0.1/live", { exact: true }).waitFor();
  rig.push(server, "live/later", picture());
  await untilPlayed(page);
  assert.ok(await isMarked(page));
});

for (const [player, query] of [["hls.js", ""], ["the browser itself", "?player=native"]]) {
  test(`a publisher that returns goes on without a reload, by ${player}`, async (t) => {
    const rig = Rig.for(t);
    const server = await rig.server(`${SMALL}[window]\nlength = "4s"\n`);
    const publisher = rig.push(server, "cam", picture());
    const page = await rig.open(`${server.http}/cam/${query}`);
    if (query) assert.ok(await playsNatively(page), "this Chromium has no HLS of its own");
    await mark(page);
    const before = await untilPlayed(page);
    await kill(publisher);
    await message(page, "Waiting for the publisher");
    const end = await untilStats(page, "the end of what is there", (now) => !now.moving && now.state === "waiting");

    rig.push(server, "cam", picture());
    const after = await untilStats(page, "pictures of the new one", (now) => now.moving && now.frames >= end.frames + 50);
    assert.equal(after.state, "live");
    assert.equal(after.epoch, before.epoch);
    assert.deepEqual(after.troubles, [], "the same player goes on");
    assert.equal(after.starts, 1);
    assert.ok(await isMarked(page));
    if (player === "hls.js") assert.equal(after.discontinuities, 1);
    const playlist = await (await fetch(`${server.http}/cam/_/source.m3u8`)).text();
    assert.match(playlist, /#EXT-X-DISCONTINUITY/);
  });
}

test("a publisher that stays away ends the stream, and the next one plays by itself", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server(`${SMALL}[stream]\nlinger = "1s"\n`);
  const publisher = rig.push(server, "cam", picture());
  const page = await rig.open(`${server.http}/cam/`);
  await mark(page);
  const before = await untilPlayed(page);
  await kill(publisher);
  await message(page, "The stream has ended");
  await page.locator("#state").filter({ hasText: "Ended" }).waitFor();
  await untilStats(page, "the end of what is there", (now) => !now.moving);

  rig.push(server, "cam", picture());
  await untilStats(page, "another epoch", (now) => now.state === "live" && now.epoch !== before.epoch);
  await untilPlayed(page, 50);
  await page.locator("#state").filter({ hasText: "Live" }).waitFor();
  assert.ok(await isMarked(page));
});

test("a server that is started again plays on without a reload", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server();
  rig.push(server, "cam", picture());
  const page = await rig.open(`${server.http}/cam/`);
  await mark(page);
  const before = await untilPlayed(page);
  await kill(server.child);
  await message(page, "The server cannot be reached");
  const again = await rig.server(SMALL, { http: server.address });
  await message(page, "Nobody publishes to cam");
  rig.push(again, "cam", picture());
  await untilStats(page, "another epoch", (now) => now.state === "live" && now.epoch !== before.epoch);
  await untilPlayed(page, 50);
  assert.ok(await isMarked(page));
});
