// The MPD plays by dash.js and by Shaka, over a publisher who comes back, to the end.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import test from "node:test";
import { Rig, film, kill, picture, until } from "./rig.mjs";

/** The film as it is, and a rung that costs little. */
const FILM = `
[transcode]
ladder = ["source", { height = 144, bitrate = "200k", preset = "ultrafast" }]
`;

const PLAYERS = {
  "dash.js": {
    script: "dashjs/dist/modern/umd/dash.all.min.js",
    start: `
      const player = dashjs.MediaPlayer().create();
      player.on(dashjs.MediaPlayer.events.ERROR, ({ error }) => troubles.push(JSON.stringify(error)));
      player.initialize(video, mpd, true);`,
  },
  Shaka: {
    script: "shaka-player/dist/shaka-player.compiled.js",
    start: `
      shaka.polyfill.installAll();
      const player = new shaka.Player();
      player.addEventListener("error", ({ detail }) => troubles.push(JSON.stringify({ code: detail.code, data: detail.data })));
      player.attach(video).then(() => player.load(mpd)).catch((error) => troubles.push(String(error)));`,
  },
};

/** A page with one of the players and nothing else, from an origin that is not the server's. */
async function pageOf(t, rig, name, mpd) {
  const { script, start } = PLAYERS[name];
  const source = await readFile(new URL(`node_modules/${script}`, import.meta.url));
  const html = `<!doctype html><title>${name}</title><video id="video" muted autoplay></video><script src="/player.js"></script>
    <script>
      const video = document.getElementById("video"), troubles = (window.troubles = []);
      const mpd = ${JSON.stringify(mpd)};
      ${start}
    </script>`;
  const server = createServer((request, response) => {
    const isScript = request.url === "/player.js";
    response.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html; charset=utf-8" });
    response.end(isScript ? source : html);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => server.close());
  return rig.open(`http://127.0.0.1:${server.address().port}/`);
}

const look = (page) =>
  page.evaluate(() => {
    const video = document.getElementById("video");
    const { totalVideoFrames, droppedVideoFrames } = video.getVideoPlaybackQuality();
    return {
      time: video.currentTime,
      frames: totalVideoFrames - droppedVideoFrames,
      sound: video.webkitAudioDecodedByteCount,
      height: video.videoHeight,
      ended: video.ended,
      duration: video.duration,
      error: video.error?.message ?? null,
      buffered: Array.from({ length: video.buffered.length }, (_, i) => [video.buffered.start(i), video.buffered.end(i)]),
      troubles: window.troubles,
    };
  });

/** Waits until the player is such; what it was last is in the failure. */
async function untilPlayer(page, what, ready) {
  let last;
  try {
    return await until(what, async () => ready((last = await look(page))) && last);
  } catch (error) {
    throw new Error(`${error.message}; the player is ${JSON.stringify(last)}`);
  }
}

/** Waits until so many more pictures were shown, sound was decoded and time went on. */
async function untilMore(page, frames = 60) {
  const before = await untilPlayer(page, "a picture", (now) => now.frames > 0 && now.sound > 0);
  return untilPlayer(
    page,
    `${frames} more pictures`,
    (now) => now.frames >= before.frames + frames && now.sound > before.sound && now.time > before.time + 1,
  );
}

for (const name of Object.keys(PLAYERS)) {
  test(`the film plays by ${name}, farther than the first MPD said`, async (t) => {
    const rig = Rig.for(t);
    const server = await rig.server(FILM);
    rig.push(server, "live/film", film());
    const mpd = `${server.http}/live/film/index.mpd`;
    const page = await pageOf(t, rig, name, mpd);
    // Twelve seconds: all that was listed at first and more.
    const now = await untilMore(page, 360);
    assert.deepEqual(now.troubles, []);
    assert.ok([144, 720].includes(now.height), `${now.height} lines`);
    assert.equal(now.buffered.length, 1, `one stretch without a hole: ${JSON.stringify(now.buffered)}`);
  });

  test(`${name} plays on when the publisher comes back`, async (t) => {
    const rig = Rig.for(t);
    const server = await rig.server(FILM);
    const first = rig.push(server, "film", film());
    const mpd = `${server.http}/film/index.mpd`;
    const page = await pageOf(t, rig, name, mpd);
    await untilMore(page);
    await kill(first);
    rig.push(server, "film", picture({ size: "640x360", rate: 30 }));
    const start = await until("a second period", async () => {
      const text = await (await fetch(mpd)).text();
      const starts = [...text.matchAll(/<Period id="\d+" start="PT([\d.]+)S"/g)].map(([, at]) => Number(at));
      return starts.length === 2 && starts[1];
    });
    await untilPlayer(page, `a time in the second period, from ${start} s`, (now) => now.time > start);
    const now = await untilMore(page);
    assert.deepEqual(now.troubles, []);
    assert.ok([144, 360].includes(now.height), `${now.height} lines`);
  });
}

// Shaka 5.2.12 shows all of it, too, but fires no `ended` when it has loaded everything before the MPD is static.
test("dash.js plays to the end of a stream that ends", async (t) => {
  const rig = Rig.for(t);
  // Two loads of the MPD: dash.js takes a static one for the end of what it knew before.
  const server = await rig.server(`${FILM}[stream]\nlinger = "6s"\n`);
  const publisher = rig.push(server, "film", film());
  const mpd = `${server.http}/film/index.mpd`;
  const page = await pageOf(t, rig, "dash.js", mpd);
  await untilMore(page);
  await kill(publisher);
  const length = await until("a static MPD", async () => {
    const text = await (await fetch(mpd)).text();
    return text.includes('type="static"') && Number(/mediaPresentationDuration="PT([\d.]+)S"/.exec(text)[1]);
  });
  const now = await untilPlayer(page, `the end at ${length} s`, (now) => now.ended);
  assert.deepEqual(now.troubles, []);
  assert.ok(Math.abs(now.time - length) < 0.5, `ended at ${now.time} s of ${length}`);
});
