// What the page asks of a player, whichever it is. `hlsjs.ts` and `native.ts` are the two; when to start anew is
// decided in `session.ts`, not in them.

import type Hls from "hls.js";
import type { Trouble } from "./words";

/** A rung that can be picked. */
export interface Level {
  /** `720p`, or `Sound`. */
  label: string;
  /** Announced, bits per second. */
  bits: number;
  width: number | null;
  height: number | null;
}

export interface Playlist {
  url: string;
  text: string;
}

export interface Player {
  readonly way: "hls.js" | "native";
  readonly hls: Hls | null;
  /** Whether `choose` does something. */
  readonly picks: boolean;
  levels(): Level[];
  /** Index of the level that was picked; -1 leaves it to the player. */
  chosen(): number;
  /** Index of the level that is on the screen; -1 while it is not known. */
  playing(): number;
  choose(level: number): void;
  /** Wall-clock time of the picture on the screen, in milliseconds since 1970, by PROGRAM-DATE-TIME. */
  playingDateMs(): number | null;
  /** Where a viewer of the live stream should be, in the video's seconds. */
  livePosition(): number | null;
  /** Measured while loading, bits per second. */
  throughput(): number | null;
  /** Bits per second of media of the segments that were loaded last, picture and sound. */
  mediaRate(): number | null;
  /** Breaks in the stream that were played across. */
  discontinuities(): number;
  /** The media playlist that it follows. */
  playlist(): Promise<Playlist | null>;
  destroy(): void;
}

/** What a player reports. */
export interface Events {
  /** The video has a (new) source and may be told to play. */
  attached(): void;
  /** It can go on no more and has to be replaced. */
  failed(trouble: Trouble): void;
}

/** The form of the segments: `index.m3u8` or `ts.m3u8`. */
export type Form = "cmaf" | "ts";
