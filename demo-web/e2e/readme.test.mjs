/** The lines of JavaScript in the README run in a page, without a bundler, against a real hub. */
import assert from "node:assert/strict";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { Hub, end, profile, repository, serve, temporary, until } from "./rig.mjs";

afterEach(end);

test("the lines of the README run", async () => {
  const readme = await readFile(join(repository, "README.md"), "utf8");
  const block = /```js\n(.*?)```/s.exec(readme)[1];
  const hub = new Hub(await temporary("hub"));
  await hub.start();
  const lines = block.replace("ws://127.0.0.1:8787", `ws://127.0.0.1:${hub.port}`);
  assert.notEqual(lines, block, "the README names the demo's hub");

  const folder = await temporary("page");
  await cp(join(repository, "bindings/js/dist"), join(folder, "sync-sdk"), { recursive: true });
  const imports = JSON.stringify({ imports: { "sync-sdk": "/sync-sdk/index.js" } });
  const scripts = `<script type="importmap">${imports}</script><script type="module" src="lines.js"></script>`;
  await writeFile(join(folder, "index.html"), `<!doctype html><title>lines</title>${scripts}`);
  await writeFile(join(folder, "lines.js"), lines);

  const page = await (await profile("readme")).newPage();
  const said = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  const policy = "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; connect-src 'self' ws:";
  await page.goto(await serve(folder, policy));
  await until(() => said.some((line) => line.startsWith("Buy oat milk")), () => said.join("\n"));
  assert(said.some((line) => line === "1 notes, 0 pending"), said.join("\n"));
});
