// Caption a photo with the types that openapi-typescript makes: node with_typescript.js URL PHOTO

import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths } from "./captioner.js";

const [url, photo] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url });

// The document's type of a file is a string of bytes; the form carries it as a Blob.
function form(image: Blob) {
  return {
    body: { image: image as unknown as string },
    bodySerializer: () => {
      const data = new FormData();
      data.append("image", image, "picture");
      return data;
    },
  };
}

const query = { beam: 3, n: 2 };
const good = await client.POST("/caption", { params: { query }, ...form(new Blob([readFileSync(photo)])) });
if (!good.data?.alternatives) throw new Error(JSON.stringify(good.error));

const bad = await client.POST("/caption", form(new Blob(["not a picture"])));
if (bad.error?.status !== 415) throw new Error("a text was taken for a picture");

console.log(good.data.caption);
