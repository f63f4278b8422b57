// The last minute as lines: one sample a second, bits per second on a logarithmic scale.

import { rate } from "./format";

const SECONDS = 60;

export interface Line {
  name: string;
  /** Custom property of the style sheet. */
  colour: string;
  /** Oldest first; `null` where nothing is known. */
  samples: (number | null)[];
}

export class Graph {
  readonly #canvas: HTMLCanvasElement;
  readonly #lines: Line[];

  constructor(canvas: HTMLCanvasElement, lines: { name: string; colour: string }[]) {
    this.#canvas = canvas;
    this.#lines = lines.map((line) => ({ ...line, samples: [] }));
    new ResizeObserver(() => this.#draw()).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** One second has passed; a value for each line. */
  push(values: (number | null)[]): void {
    for (const [index, line] of this.#lines.entries()) {
      line.samples.push(values[index] || null);
      if (line.samples.length > SECONDS) line.samples.shift();
    }
    this.#draw();
    const said = this.#lines.map((line) => `${line.name} ${rate(line.samples.at(-1) ?? NaN)}`).join(", ");
    this.#canvas.setAttribute("aria-label", `Bit rate over the last minute; now: ${said}`);
  }

  #draw(): void {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    if (!context || width === 0) return;
    const scale = window.devicePixelRatio || 1;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    context.scale(scale, scale);
    const style = getComputedStyle(this.#canvas);
    const known = this.#lines.flatMap((line) => line.samples.filter((value) => value !== null));
    const low = Math.floor(Math.log10(Math.min(1e5, ...known)));
    const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(1e6, ...known))));
    const margin = 58;
    const x = (index: number, count: number) => margin + ((SECONDS - count + index) / (SECONDS - 1)) * (width - margin - 4);
    const y = (value: number) => 8 + ((high - Math.log10(value)) / (high - low)) * (height - 16);

    context.font = `11px ${style.fontFamily}`;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let decade = low; decade <= high; decade++) {
      context.strokeStyle = style.getPropertyValue("--line");
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(margin, y(10 ** decade));
      context.lineTo(width, y(10 ** decade));
      context.stroke();
      context.fillStyle = style.getPropertyValue("--quiet");
      context.fillText(rate(10 ** decade).replace(".0", ""), margin - 6, y(10 ** decade));
    }
    for (const line of this.#lines) {
      context.strokeStyle = style.getPropertyValue(line.colour);
      context.lineWidth = 2;
      context.lineJoin = "round";
      context.beginPath();
      let begun = false;
      for (const [index, value] of line.samples.entries()) {
        if (value === null) {
          begun = false;
          continue;
        }
        const point = [x(index, line.samples.length), y(value)] as const;
        if (begun) context.lineTo(...point);
        else context.moveTo(...point);
        begun = true;
      }
      context.stroke();
    }
  }
}
