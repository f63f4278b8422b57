// `/`: the live streams, or how to publish one.

import { ServerClock, streams, type Stream } from "./api";
import { copyable } from "./copy";
import { byId, create, setText, whileVisible } from "./dom";
import { duration, rate } from "./format";
import { howToPublish } from "./publish";
import { STATE_WORD, codecs, picture, rungs, sound } from "./words";

const POLL_MS = 2000;
const CLOCK_MS = 60_000;
const clock = new ServerClock();

/** One stream's card; made once, so that focus and selection stay when its numbers change. */
class Card {
  readonly root: HTMLLIElement;
  #state = create("span", { class: "pill" });
  #what = create("p", { class: "what" });
  #rungs = create("p", { class: "chips", "aria-label": "Renditions" });
  #times = create("p", { class: "quiet" });

  constructor(stream: Stream) {
    const link = create("a", { href: `/${stream.name}/`, class: "name" }, stream.name);
    const urls = create(
      "details",
      {},
      create("summary", {}, "Playlists"),
      copyable("HLS", new URL(stream.hls, location.href).href),
      copyable("HLS, MPEG-TS", new URL(stream.hls_ts, location.href).href),
      copyable("DASH", new URL(stream.dash, location.href).href),
    );
    const watch = create("a", { href: `/${stream.name}/`, class: "button", "aria-label": `Watch ${stream.name}` }, "Watch");
    this.root = create(
      "li",
      { class: "card stream", "data-name": stream.name },
      create("div", { class: "title" }, create("h2", {}, link), this.#state),
      this.#what,
      this.#rungs,
      create("div", { class: "foot" }, this.#times, watch),
      urls,
    );
    this.show(stream);
  }

  show(stream: Stream): void {
    setText(this.#state, STATE_WORD[stream.state]);
    this.#state.dataset.state = stream.state;
    const source = stream.renditions[0];
    const heard = stream.renditions.find((rendition) => rendition.kind === "audio");
    const bits = (source?.mean_bps ?? 0) + (heard && heard !== source ? heard.mean_bps : 0);
    const size = source && (source.kind === "video" ? picture(source) : sound(source));
    setText(this.#what, [size, codecs(stream), source && rate(bits)].filter(Boolean).join(" · "));
    const names = rungs(stream.renditions);
    if (this.#rungs.dataset.rungs !== names.join()) {
      this.#rungs.dataset.rungs = names.join();
      this.#rungs.replaceChildren(...names.map((name) => create("span", {}, name)));
    }
    const publisher = stream.publisher
      ? `up ${duration(clock.now() - stream.publisher.since_ms)}, by ${stream.publisher.protocol.toUpperCase()}`
      : `begun ${duration(clock.now() - stream.since_ms)} ago, no publisher`;
    setText(this.#times, publisher);
  }
}

const list = byId("streams", HTMLUListElement);
const trouble = byId("trouble", HTMLParagraphElement);
const cards = new Map<string, Card>();
byId("publish-how", HTMLDivElement).append(howToPublish("live/cam1"));
byId("publish-more-how", HTMLDivElement).append(howToPublish("live/cam2"));

whileVisible(CLOCK_MS, () => clock.ask());
whileVisible(POLL_MS, async () => {
  try {
    show(await streams());
    trouble.hidden = true;
  } catch (error) {
    setText(trouble, `The server does not answer (${String(error)}). Trying again; what you see may be old.`);
    trouble.hidden = false;
  }
});

function show(all: Stream[]): void {
  const names = new Set(all.map((stream) => stream.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.root.remove();
      cards.delete(name);
    }
  }
  for (const [index, stream] of all.entries()) {
    const card = cards.get(stream.name) ?? new Card(stream);
    cards.set(stream.name, card);
    card.show(stream);
    if (list.children[index] !== card.root) list.insertBefore(card.root, list.children[index] ?? null);
  }
  const live = all.filter((stream) => stream.state === "live").length;
  setText(byId("count", HTMLSpanElement), all.length ? `${live} live of ${all.length}` : "");
  byId("publish", HTMLElement).hidden = all.length > 0;
  byId("publish-more", HTMLDetailsElement).hidden = all.length === 0;
  document.title = live ? `(${live}) headwater: live streams` : "headwater: live streams";
}
