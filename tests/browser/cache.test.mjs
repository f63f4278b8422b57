// nginx in front, as a cache that pulls: what viewers get through it plays, and the second one costs the origin nothing.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import test from "node:test";
import { Rig, picture, until, untilPlayed } from "./rig.mjs";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** An nginx before this origin; says in `X-Cache` what its cache did. */
async function nginx(rig, origin) {
  const folder = rig.folder();
  const port = await freePort();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  writeFileSync(
    path.join(folder, "nginx.conf"),
    `daemon off;
master_process off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
  ${temporary.map((what) => `${what}_temp_path ${folder}/${what};`).join("\n  ")}
  proxy_cache_path ${folder}/cache keys_zone=media:1m max_size=200m inactive=10m;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://${origin};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache media;
      proxy_cache_lock on;
      add_header X-Cache $upstream_cache_status always;
    }
  }
}
`,
  );
  const child = rig.spawn("nginx", ["-e", "stderr", "-p", folder, "-c", path.join(folder, "nginx.conf")]);
  const url = `http://127.0.0.1:${port}`;
  await until(`nginx at ${url}`, async () => {
    if (child.exitCode !== null) throw new Error(`nginx did not start: ${child.said}`);
    return fetch(`${url}/healthz`).then((answer) => answer.ok, () => false);
  });
  return url;
}

/** What the cache did for each segment and header that this page asked for, by URL. */
function watchCache(page) {
  const answers = new Map();
  page.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (/\/_\/e\d+\//.test(pathname)) answers.set(pathname, response.headers()["x-cache"]);
  });
  return answers;
}

test("the page plays through a cache, and a second viewer gets hits", async (t) => {
  const rig = Rig.for(t);
  const server = await rig.server();
  rig.push(server, "live/cam", picture());
  const cdn = await nginx(rig, server.address);

  const first = await rig.open("about:blank");
  const mine = watchCache(first);
  await first.goto(`${cdn}/live/cam/`);
  await untilPlayed(first, 75);
  assert.ok(mine.size >= 3, `only ${[...mine.keys()]}`);

  const second = await rig.open("about:blank");
  const theirs = watchCache(second);
  await second.goto(`${cdn}/live/cam/`);
  await untilPlayed(second);
  const shared = () => [...theirs].filter(([url]) => mine.has(url));
  await until("segments that both viewers got", () => shared().length >= 3);
  assert.ok([...mine.values()].includes("MISS"), "the first viewer was the first");
  // Both are live: either may be the first to ask for the newest segment. One of them is.
  for (const [url, status] of shared()) assert.ok(status === "HIT" || mine.get(url) === "HIT", `${url}: ${mine.get(url)}, then ${status}`);
  assert.ok(shared().some(([, status]) => status === "HIT"));
  // The server's state is not cached, or the page would show what was.
  const api = await fetch(`${cdn}/api/v1/streams`);
  assert.equal(api.headers.get("x-cache"), "MISS");
  assert.equal((await fetch(`${cdn}/api/v1/streams`)).headers.get("x-cache"), "MISS");
});
