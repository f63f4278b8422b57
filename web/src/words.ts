// States and troubles in plain words.

import type { Rendition, State, Stream } from "./api";
import { lines } from "./format";

export const STATE_WORD: Record<State, string> = {
  starting: "Starting",
  live: "Live",
  waiting: "Waiting",
  ended: "Ended",
};

/** What went wrong in a player, as far as it makes a difference to people. */
export type Trouble =
  /** The stream, or a part of it, is not there now. */
  | { kind: "absent" }
  /** No answer, or one that makes no sense. */
  | { kind: "network"; detail: string }
  /** The browser has no decoder for it. */
  | { kind: "codec" }
  /** The decoder, or the player, gave up. */
  | { kind: "media"; detail: string };

export interface Words {
  title: string;
  text: string;
}

/** Where the stream is not playing because of its state; `null` where it should play. */
export function ofState(name: string, stream: Stream | undefined): Words | null {
  switch (stream?.state) {
    case undefined:
      return { title: "Not here yet", text: `Nobody publishes to ${name} now. It starts here by itself when somebody does.` };
    case "starting":
      return { title: "Starting", text: "The publisher is here; the first seconds are on their way." };
    case "waiting":
      return { title: "Waiting for the publisher", text: "The publisher has gone. When it returns, it goes on here by itself." };
    case "ended":
      return { title: "Ended", text: "The stream has ended. When a new one begins under this name, it plays here by itself." };
    case "live":
      return null;
  }
}

export function ofTrouble(trouble: Trouble, stream: Stream | undefined, againInS: number | null): Words {
  const again = againInS === null ? "" : ` Trying again in ${againInS} s.`;
  switch (trouble.kind) {
    case "absent":
      return { title: "Not here now", text: `The server has no such stream at the moment.${again}` };
    case "network":
      return {
        title: "The server cannot be reached",
        text: `Look whether your network and the server are up (${trouble.detail}).${again}`,
      };
    case "codec": {
      const codec = stream?.renditions.find((rendition) => rendition.kind === "video")?.codec;
      return {
        title: `This browser cannot play ${codec ?? "this stream"}`,
        text: "Try another browser or VLC, or publish H.264: every browser plays that.",
      };
    }
    case "media":
      return { title: "The player gave up", text: `It could not go on with what it got (${trouble.detail}).${again}` };
  }
}

/** `1280×720 · 30 fps`. */
export function picture(rendition: Rendition): string {
  const parts: string[] = [];
  if (rendition.width && rendition.height) parts.push(`${rendition.width}×${rendition.height}`);
  if (rendition.frame_rate) parts.push(`${Number(rendition.frame_rate.toFixed(2))} fps`);
  return parts.join(" · ");
}

/** `48 kHz stereo`. */
export function sound(rendition: Rendition): string {
  const channels = rendition.channels === 1 ? "mono" : rendition.channels === 2 ? "stereo" : `${rendition.channels} channels`;
  return rendition.sample_rate ? `${rendition.sample_rate / 1000} kHz ${channels}` : channels;
}

/** Codecs, each once: `H.264 + AAC`. */
export function codecs(stream: Stream): string {
  return [...new Set(stream.renditions.map((rendition) => rendition.codec))].join(" + ");
}

/** What renditions are called: `720p`, with the id where several have this size, and sound by its id. */
export function rungs(renditions: Rendition[]): string[] {
  const sizes = renditions.map(({ width, height }) => (width && height ? lines(width, height) : null));
  return renditions.map(({ id }, index) => {
    const size = sizes[index];
    if (!size) return id;
    return sizes.indexOf(size) === sizes.lastIndexOf(size) ? size : `${size} (${id})`;
  });
}
