// The test page plays: by hls.js and by the browser itself, in both forms, with and without a picture.

import assert from "node:assert/strict";
import test from "node:test";
import { Rig, film, playsNatively, stats, tone, until, untilPlayed, untilSeen, untilStats } from "./rig.mjs";

/** The film as it is, and a rung that costs little. */
const FILM = `
[transcode]
ladder = ["source", { height = 144, bitrate = "200k", preset = "ultrafast" }]
`;

test("the film plays by hls.js in both forms, and a picked rung is what is shown", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server(FILM);
  rig.push(server, "live/film", film());

  const page = await rig.open(`${server.http}/live/film/`);
  const first = await untilPlayed(page);
  assert.equal(first.player, "hls.js");
  assert.deepEqual(first.levels.map(({ height }) => height), [144, 720]);
  await untilSeen(page);
  const latency = await untilStats(page, "a latency", (now) => now.latency !== null && now.buffer > 0);
  assert.ok(latency.latency > 0 && latency.latency < 30, `a latency of ${latency.latency} s`);
  assert.equal(await page.locator("#state").textContent(), "Live");
  await page.locator("#playlist summary").click();
  await until("the playlist as text", async () => (await page.locator("#playlist-text").textContent()).includes("#EXTINF"));

  for (const height of [144, 720]) {
    await page.getByRole("radio", { name: `${height}p` }).check();
    const now = await untilStats(page, `${height} lines`, (now) => now.height === height && now.levels[now.playing]?.height === height);
    assert.equal(now.chosen, now.playing);
    await untilPlayed(page);
  }
  await page.getByRole("radio", { name: "Auto" }).check();
  await untilStats(page, "the rung being left to the player", (now) => now.chosen === -1);
  assert.equal((await stats(page)).starts, 1);
  await page.close();

  const ts = await rig.open(`${server.http}/live/film?form=ts`);
  const now = await untilPlayed(ts);
  assert.equal(now.form, "ts");
  await untilSeen(ts);
  assert.match(await ts.evaluate(() => window.headwater.hls.url), /\/live\/film\/ts\.m3u8$/);
});

test("the film plays natively in both forms", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server(`${FILM}[window]\nlength = "6s"\n`);
  rig.push(server, "film", film());
  for (const query of ["?player=native", "?player=native&form=ts"]) {
    const page = await rig.open(`${server.http}/film/${query}`);
    assert.ok(await playsNatively(page), "this Chromium has no HLS of its own");
    // Longer than the window: it has loaded the playlist again.
    const now = await untilPlayed(page, 240);
    assert.equal(now.player, "native");
    assert.deepEqual(now.troubles, [], "one player all the time");
    assert.equal(now.starts, 1);
    assert.equal(await page.evaluate(() => window.headwater.hls), null);
    await untilSeen(page);
    await page.close();
  }
});

test("a stream of sound alone plays", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server();
  rig.push(server, "radio", tone());
  const page = await rig.open(`${server.http}/radio/`);
  const before = await untilStats(page, "sound", (now) => now.position > 0 && now.moving);
  await untilStats(page, "more sound", (now) => now.position > before.position + 3);
  assert.equal(await page.locator("#overlay-title").textContent(), "Sound only");
  const decoded = await page.evaluate(() => window.headwater.video.webkitAudioDecodedByteCount);
  assert.ok(decoded > 0, "no sound was decoded");
});

test("a codec that the browser lacks is named", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server();
  const page = await rig.open("about:blank");
  // No publisher of this machine can send it, so the playlist says so in its place.
  const rendition = { id: "source", kind: "video", codec: "H.266", codecs: "vvc1.1.L51.CQA", width: 64, height: 64 };
  await page.route("**/api/v1/streams", (route) =>
    route.fulfill({ json: [{ name: "new", state: "live", epoch: 1, since_ms: 0, publisher: null, renditions: [rendition] }] }),
  );
  await page.route("**/new/index.m3u8", (route) =>
    route.fulfill({ body: '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000000,CODECS="vvc1.1.L51.CQA"\n_/source.m3u8\n' }),
  );
  await page.goto(`${server.http}/new/`);
  await page.getByRole("status").filter({ hasText: "This browser cannot play H.266" }).waitFor();
});
