// The page of all streams.

import assert from "node:assert/strict";
import test from "node:test";
import { Rig, kill, picture, untilPlayed } from "./rig.mjs";

test("the list has what is live, and its link plays", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server();
  const page = await rig.open(server.http);
  await page.getByRole("heading", { name: "Nobody publishes yet" }).waitFor();
  await page.locator("#publish").getByText("rtmp://127.0.0.1/live", { exact: true }).waitFor();

  const publisher = rig.push(server, "live/cam1", picture({ size: "640x360", rate: 25 }));
  const card = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: "live/cam1" }) });
  for (const text of ["Live", "640×360 · 25 fps · H.264 + AAC", "360p", "120p", "by RTMP"]) {
    await card.getByText(text).first().waitFor();
  }
  assert.match(await card.textContent(), /\d (k|M)b\/s/);
  await card.getByText("Playlists").click();
  await card.getByText(`${server.http}/live/cam1/index.m3u8`).waitFor();
  await card.getByText(`${server.http}/live/cam1/index.mpd`).waitFor();
  await card.getByRole("button", { name: "Copy: HLS", exact: true }).click();
  await card.getByText("Copied").waitFor();
  assert.ok(await page.getByRole("heading", { name: "Nobody publishes yet" }).isHidden());

  const address = page.url();
  await card.getByRole("link", { name: "Watch live/cam1" }).click();
  await page.waitForURL(`${server.http}/live/cam1/`);
  await untilPlayed(page);
  await page.goto(address);
  await kill(publisher);
  await card.getByText("Waiting", { exact: true }).waitFor();
});

test("a phone shows both pages without scrolling sideways", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server();
  rig.push(server, "live/a-name-that-is-much-longer-than-those-which-people-give-to-their-cameras", picture());
  const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: "dark" };
  const page = await rig.open(server.http, phone);
  const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth && window.innerWidth === 390);
  await page.getByRole("link", { name: /^Watch/ }).waitFor();
  assert.ok(await fits(), "the list");
  await page.getByRole("link", { name: /^Watch/ }).click();
  await untilPlayed(page);
  assert.ok(await fits(), "the page of a stream");
});
