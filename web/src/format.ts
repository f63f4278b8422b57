// Numbers as people read them.

/** `1.2 Gb/s`, `2.6 Mb/s`, `128 kb/s`. */
export function rate(bitsPerSecond: number): string {
  if (!Number.isFinite(bitsPerSecond) || bitsPerSecond <= 0) return "–";
  if (bitsPerSecond >= 9.95e8) return `${(bitsPerSecond / 1e9).toFixed(1)} Gb/s`;
  if (bitsPerSecond >= 9.95e6) return `${Math.round(bitsPerSecond / 1e6)} Mb/s`;
  if (bitsPerSecond >= 1e6) return `${(bitsPerSecond / 1e6).toFixed(1)} Mb/s`;
  return `${Math.max(1, Math.round(bitsPerSecond / 1e3))} kb/s`;
}

/** `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(milliseconds: number): string {
  const s = Math.max(0, Math.floor(milliseconds / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** `4.2 s`. */
export function seconds(value: number | null): string {
  return value === null || !Number.isFinite(value) ? "–" : `${value.toFixed(1)} s`;
}

/** `720p`: the shorter side, as rungs are called. */
export function lines(width: number, height: number): string {
  return `${Math.min(width, height)}p`;
}
