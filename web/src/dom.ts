// Small help with elements. No state here.

/** The element with this id, which the page's HTML has. */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Sets the text where it is another one: a selection inside it, and a screen reader's peace, survive. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Calls `visit` now and then every so many milliseconds after it is done; not while nobody looks. */
export function whileVisible(everyMs: number, visit: () => Promise<void>): void {
  let timer: number | undefined;
  let running = false;
  const turn = async () => {
    window.clearTimeout(timer);
    if (running || document.hidden) return;
    running = true;
    try {
      await visit();
    } finally {
      running = false;
    }
    if (!document.hidden) timer = window.setTimeout(turn, everyMs);
  };
  document.addEventListener("visibilitychange", () => void turn());
  void turn();
}
