// How to publish to this server, with its name filled in.

import { copyable } from "./copy";
import { create } from "./dom";

/** For a stream of this name. */
export function howToPublish(name: string): DocumentFragment {
  const parts = name.split("/");
  const key = parts.length > 1 ? parts.pop()! : "";
  const server = `rtmp://${location.hostname}/${parts.join("/")}`;
  const url = `rtmp://${location.hostname}/${name}`;
  const fragment = new DocumentFragment();
  fragment.append(
    create("h3", {}, "OBS Studio"),
    create("p", {}, "Settings → Stream → Service: Custom. Output: keyframe interval 2 s."),
    copyable("Server", server),
    ...(key ? [copyable("Stream key", key)] : [create("p", {}, "Leave the stream key empty.")]),
    create("h3", {}, "ffmpeg"),
    copyable(
      "A file, encoded",
      `ffmpeg -re -i film.mp4 -c:v libx264 -preset veryfast -g 60 -b:v 3M -c:a aac -f flv ${url}`,
    ),
    copyable("A file with H.264 and AAC, as it is", `ffmpeg -re -i film.mp4 -c copy -f flv ${url}`),
    create("p", { class: "quiet" }, "Port 1935, unless the server's configuration says otherwise."),
  );
  return fragment;
}
