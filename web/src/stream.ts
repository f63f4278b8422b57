// `/{stream}/`: plays one stream and shows what it does.

import { ServerClock, streams } from "./api";
import { copyable } from "./copy";
import { byId, create, setText } from "./dom";
import { duration, rate, seconds } from "./format";
import { Graph } from "./graph";
import { Native } from "./native";
import type { Form, Player } from "./player";
import { howToPublish } from "./publish";
import { Session } from "./session";
import { STATE_WORD, codecs, ofState, ofTrouble, picture, sound, type Words } from "./words";

const POLL_MS = 2000;
const LOOK_MS = 250;
const CLOCK_MS = 30_000;
/** So much later than where a live viewer should be, and the way back is offered. */
const BEHIND_S = 8;

const name = location.pathname.replace(/^\/+|\/+$/g, "");
const options = new URLSearchParams(location.search);
const form: Form = options.get("form") === "ts" ? "ts" : "cmaf";

const video = byId("video", HTMLVideoElement);
const state = byId("state", HTMLSpanElement);
const message = byId("message", HTMLParagraphElement);
const overlay = byId("overlay", HTMLDivElement);
const overlayTitle = byId("overlay-title", HTMLElement);
const overlayText = byId("overlay-text", HTMLSpanElement);
const rungs = byId("rungs", HTMLDivElement);
const toLive = byId("to-live", HTMLButtonElement);
const publish = byId("publish", HTMLElement);
const playlist = byId("playlist", HTMLDetailsElement);
const clock = new ServerClock();

/** Which of the two plays here; `null` where neither can. */
async function choose(): Promise<"hls.js" | "native" | null> {
  const asked = options.get("player");
  if (asked === "native") return Native.isSupported(video) ? "native" : null;
  if ("MediaSource" in window || "ManagedMediaSource" in window) {
    if ((await import("./hlsjs")).HlsJs.isSupported()) return "hls.js";
  }
  return asked !== "hls" && Native.isSupported(video) ? "native" : null;
}

async function main(): Promise<void> {
  setText(byId("name", HTMLHeadingElement), name);
  document.title = `${name} – headwater`;
  publish.querySelector("#publish-how")?.append(howToPublish(name));
  share();
  void clock.ask();
  window.setInterval(() => void clock.ask(), CLOCK_MS);
  const way = await choose();
  ways(way);
  if (way === null) {
    say({
      title: "This browser cannot play it this way",
      text: "It has no Media Source Extensions, or no HLS of its own. Try another way below, another browser, or VLC.",
    });
    return;
  }
  const make = way === "native" ? Native : (await import("./hlsjs")).HlsJs;
  const session = new Session(name, form, video, (url, events) => new make(video, url, events));
  const stats = () => statsOf(session);
  // For tests and for the curious, in the console: the hls.js instance (null where the browser plays by itself), the
  // <video>, and the numbers of the page as an object.
  window.headwater = {
    get hls() {
      return session.player?.hls ?? null;
    },
    video,
    stats,
  };
  show(session);
  void ask(session);
}

declare global {
  interface Window {
    headwater?: { readonly hls: unknown; video: HTMLVideoElement; stats(): ReturnType<typeof statsOf> };
  }
}

/** Asks the server for the stream's state, for ever. */
async function ask(session: Session): Promise<void> {
  try {
    session.learn((await streams()).find((stream) => stream.name === name));
  } catch {
    session.lost();
  }
  window.setTimeout(() => void ask(session), POLL_MS);
}

function statsOf(session: Session) {
  const { player, stream } = session;
  const quality = video.getVideoPlaybackQuality();
  const dateMs = player?.playingDateMs() ?? null;
  const live = player?.livePosition() ?? null;
  const levels = player?.levels() ?? [];
  const playing = player?.playing() ?? -1;
  return {
    state: stream?.state ?? (session.reachable ? "absent" : "unknown"),
    epoch: stream?.epoch ?? null,
    player: player?.way ?? null,
    form,
    /** Players made since the page was opened. */
    starts: session.starts,
    /** What made them necessary, the newest last. */
    troubles: session.troubles,
    moving: session.isMoving(),
    position: video.currentTime,
    width: video.videoWidth,
    height: video.videoHeight,
    levels,
    chosen: player?.chosen() ?? -1,
    playing,
    /** Seconds from the publisher's arrival at the server to the screen. */
    latency: dateMs === null ? null : (clock.now() - dateMs) / 1000,
    /** Seconds behind where a live viewer should be. */
    behind: live === null ? null : live - video.currentTime,
    buffer: bufferAhead(),
    frames: quality.totalVideoFrames,
    dropped: quality.droppedVideoFrames,
    discontinuities: player?.discontinuities() ?? 0,
    announcedRate: levels[playing]?.bits ?? null,
    mediaRate: player?.mediaRate() ?? null,
    throughput: player?.throughput() ?? null,
  };
}

type Stats = ReturnType<typeof statsOf>;

/** Seconds that are there beyond what is shown. */
function bufferAhead(): number {
  const { buffered, currentTime } = video;
  for (let range = 0; range < buffered.length; range++) {
    if (buffered.start(range) <= currentTime + 0.2 && currentTime <= buffered.end(range)) {
      return Math.max(0, buffered.end(range) - currentTime);
    }
  }
  return 0;
}

/** Everything on the page that changes. */
function show(session: Session): void {
  const graph = new Graph(byId("graph", HTMLCanvasElement), LINES);
  byId("legend", HTMLParagraphElement).append(
    ...LINES.map((line) => {
      const item = create("span", {}, line.name);
      item.style.setProperty("--colour", `var(${line.colour})`);
      return item;
    }),
  );
  const numbers = new Numbers(byId("numbers", HTMLDListElement));
  toLive.addEventListener("click", () => {
    const live = session.player?.livePosition();
    if (live) video.currentTime = live;
    void video.play();
  });
  window.setInterval(() => {
    session.look();
    const stats = statsOf(session);
    status(session, stats);
    numbers.show(session, stats);
    picker(session.player, stats);
    toLive.hidden = stats.state !== "live" || (stats.behind ?? 0) < BEHIND_S;
  }, LOOK_MS);
  window.setInterval(() => {
    const { announcedRate, mediaRate, throughput } = statsOf(session);
    graph.push([announcedRate, mediaRate, throughput]);
  }, 1000);
  const update = () => void showPlaylist(session.player);
  window.setInterval(update, 1000);
  playlist.addEventListener("toggle", update);
}

const LINES = [
  { name: "rung, announced", colour: "--rung" },
  { name: "segments, measured", colour: "--media" },
  { name: "network, measured", colour: "--network" },
];

/** State, and trouble in plain words. */
function status(session: Session, stats: Stats): void {
  const { stream } = session;
  setText(state, stream ? STATE_WORD[stream.state] : session.reachable ? "Not here" : "Unknown");
  state.dataset.state = stats.state;
  publish.hidden = stats.state !== "absent";
  say(words(session, stats));
}

function words(session: Session, stats: Stats): (Words & { quiet?: boolean }) | null {
  const { stream, trouble } = session;
  if (trouble?.kind === "codec") return ofTrouble(trouble, stream, null);
  const byState = session.reachable ? ofState(name, stream) : null;
  if (byState) return { ...byState, quiet: stats.moving || (stats.state === "ended" && video.readyState > 0) };
  if (trouble) return ofTrouble(trouble, stream, session.againInS());
  if (!session.reachable && !stats.moving) {
    return ofTrouble({ kind: "network", detail: "it does not answer" }, stream, session.againInS());
  }
  if (session.blocked) return { title: "Press play", text: "This browser starts no video by itself." };
  if (stats.moving) return null;
  if (video.paused && video.readyState > 0) return null;
  if (session.starts > 0 && stats.position > 0) {
    return { title: "Waiting for data", text: "What was loaded has been played; the next segment is awaited.", quiet: true };
  }
  return { title: "Loading", text: "The first segments are on their way." };
}

/** Shows the words under the video and, unless they are quiet, on it. `null` says nothing. */
function say(words: (Words & { quiet?: boolean }) | null): void {
  setText(message, words ? `${words.title}. ${words.text}` : "");
  const soundOnly = words === null && video.readyState > 0 && video.videoHeight === 0;
  overlay.hidden = soundOnly ? false : words === null || words.quiet === true;
  // It is said to those who do not see the overlay, and not shown twice to the others.
  message.classList.toggle("covered", !overlay.hidden && !soundOnly);
  setText(overlayTitle, soundOnly ? "Sound only" : (words?.title ?? ""));
  setText(overlayText, soundOnly ? "This stream has no picture. Turn the sound on to hear it." : (words?.text ?? ""));
}

class Numbers {
  readonly #list: HTMLDListElement;
  readonly #values = new Map<string, HTMLElement>();

  constructor(list: HTMLDListElement) {
    this.#list = list;
  }

  show(session: Session, stats: Stats): void {
    const { stream } = session;
    const source = stream?.renditions[0];
    const level = stats.levels[stats.playing];
    const lost = stats.frames > 0 ? ` of ${stats.frames}` : "";
    this.#put("Latency", seconds(stats.latency), "From the publisher's arrival at the server to your screen");
    this.#put("Buffer", seconds(stats.buffer), "What is loaded beyond what you see");
    this.#put("Playing", stats.height ? `${stats.width}×${stats.height}` : (level?.label ?? "–"));
    this.#put("Rung", rate(level?.bits ?? NaN), "The bit rate that the playlist announces for this rung");
    this.#put("Dropped frames", `${stats.dropped}${lost}`, "Pictures that this browser had no time to show");
    this.#put("Network", rate(stats.throughput ?? NaN), "As fast as segments came, measured");
    const size = source && (source.kind === "video" ? picture(source) : sound(source));
    this.#put("Source", size || "–");
    this.#put("Codecs", stream ? codecs(stream) || "–" : "–");
    this.#put("Up", stream?.publisher ? duration(clock.now() - stream.publisher.since_ms) : "–");
    this.#put("Breaks", String(stats.discontinuities), "Discontinuities that were played across");
  }

  #put(label: string, value: string, title?: string): void {
    let element = this.#values.get(label);
    if (!element) {
      element = create("dd");
      const box = create("div", title ? { title } : {}, create("dt", {}, label), element);
      this.#list.append(box);
      this.#values.set(label, element);
    }
    setText(element, value);
  }
}

/** The rungs as radio buttons; made anew only when the rungs are others. */
function picker(player: Player | null, stats: Stats): void {
  const key = JSON.stringify([player?.way, stats.levels.map(({ label, bits }) => [label, bits])]);
  if (rungs.dataset.key !== key) {
    rungs.dataset.key = key;
    const choice = (level: number, label: string, detail: string) => {
      const input = create("input", { type: "radio", name: "rung", value: String(level) });
      input.disabled = !player?.picks;
      input.addEventListener("change", () => player?.choose(level));
      return create("label", {}, input, create("span", {}, label, " ", create("small", {}, detail)));
    };
    // Best first, as people expect it.
    const order = stats.levels.map((level, index) => ({ ...level, index })).sort((a, b) => b.bits - a.bits);
    rungs.replaceChildren(
      choice(-1, "Auto", player?.picks === false ? "by the browser" : ""),
      ...order.map((level) => choice(level.index, level.label, rate(level.bits))),
    );
    rungs.closest("fieldset")!.hidden = stats.levels.length === 0;
  }
  for (const input of rungs.querySelectorAll("input")) {
    input.checked = Number(input.value) === stats.chosen;
    const label = input.parentElement!;
    const isPlaying = Number(input.value) === stats.playing;
    label.classList.toggle("playing", isPlaying);
    if (isPlaying) label.title = "Plays now";
    else label.removeAttribute("title");
  }
}

async function showPlaylist(player: Player | null): Promise<void> {
  if (!playlist.open || !player) return;
  try {
    const current = await player.playlist();
    if (!current) return;
    const link = byId("playlist-url", HTMLAnchorElement);
    link.href = current.url;
    setText(link, current.url);
    setText(byId("playlist-text", HTMLPreElement), current.text);
    const count = current.text.match(/^#EXTINF/gm)?.length ?? 0;
    setText(byId("playlist-what", HTMLSpanElement), `${count} segments`);
  } catch {
    // The old text stays; what is wrong is said elsewhere.
  }
}

function share(): void {
  const url = (file: string) => new URL(`/${name}/${file}`, location.href).href;
  byId("share", HTMLDivElement).append(
    copyable("This page", url("")),
    copyable("HLS", url("index.m3u8")),
    copyable("HLS, MPEG-TS segments, for old players", url("ts.m3u8")),
    copyable("DASH", url("index.mpd")),
    copyable("ffplay", `ffplay ${url("index.m3u8")}`),
    copyable("VLC", `vlc ${url("index.m3u8")}`),
    copyable("The playlist, by curl", `curl -s --compressed ${url("index.m3u8")}`),
  );
}

function ways(way: "hls.js" | "native" | null): void {
  const by = way === "native" ? "the browser itself" : way === "hls.js" ? "hls.js" : "nothing here";
  setText(byId("way", HTMLParagraphElement), `By ${by}, ${form === "ts" ? "MPEG-TS" : "CMAF (fragmented MP4)"} segments.`);
  const link = (label: string, query: string) => {
    const isThis = `?${options.toString()}` === query;
    return create("a", { href: query === "?" ? location.pathname : query, ...(isThis ? { "aria-current": "page" } : {}) }, label);
  };
  byId("ways", HTMLElement).append(
    link("As suits the browser", "?"),
    link("hls.js", "?player=hls"),
    link("Native", "?player=native"),
    link("hls.js, MPEG-TS", "?player=hls&form=ts"),
    link("Native, MPEG-TS", "?player=native&form=ts"),
  );
}

void main();
