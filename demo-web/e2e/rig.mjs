/** What the end-to-end tests stand on: the real hub, a proxy before it, the page's server, the terminal client. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const repository = fileURLToPath(new URL("../..", import.meta.url));
const program = (variable, path) => process.env[variable] ?? join(repository, path);
const HUB = program("SYNC_HUB_BIN", "target/debug/sync-hub");
const NOTES = program("SYNC_NOTES_BIN", "target/debug/examples/notes");
const DIST = program("SYNC_DEMO_DIST", "demo-web/dist");

/** How Chromium is started. */
export const CHROMIUM = {
  executablePath: process.env.CHROMIUM_BIN ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};

/** Things to undo, the last first. */
const cleanups = [];
export const onEnd = (cleanup) => cleanups.push(cleanup);
export async function end() {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

export async function temporary(name) {
  const folder = await mkdtemp(join(tmpdir(), `sync-e2e-${name}-`));
  onEnd(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A hub process on its own data. `port` 0 takes a free one; afterwards it stays the same. */
export class Hub {
  constructor(folder) {
    this.folder = folder;
    this.port = 0;
    onEnd(() => this.kill());
  }

  async start() {
    const listen = `127.0.0.1:${this.port}`;
    const args = ["serve", "--listen", listen, "--data-dir", this.folder];
    this.process = spawn(HUB, args, { stdio: ["ignore", "pipe", "inherit"] });
    for await (const line of createInterface(this.process.stdout)) {
      const found = /^listening on http:\/\/127\.0\.0\.1:(\d+)$/.exec(line);
      assert(found, `the hub says: ${line}`);
      this.port = Number(found[1]);
      return;
    }
    assert.fail("the hub ended before it listened");
  }

  /** SIGKILL: nothing is flushed, nobody is told. */
  async kill() {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }
}

/**
 * A proxy before the hub. While it drops, it reads from both sides and passes nothing on, without
 * closing anything; a connection that lost bytes stays silent for ever.
 */
export class Proxy {
  #dropping = false;
  #sockets = new Set();

  constructor(hub) {
    this.hub = hub;
  }

  async start() {
    this.server = createServer((client) => this.#join(client));
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.port = this.server.address().port;
    onEnd(() => {
      this.server.close();
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  drop() {
    this.#dropping = true;
    for (const socket of this.#sockets) socket.lost = true;
  }

  pass() {
    this.#dropping = false;
  }

  get address() {
    return `ws://127.0.0.1:${this.port}`;
  }

  #join(client) {
    const hub = connect(this.hub.port, "127.0.0.1");
    for (const [from, to] of [[client, hub], [hub, client]]) {
      this.#sockets.add(from);
      from.lost = this.#dropping;
      from.on("data", (bytes) => {
        if (!from.lost) to.write(bytes);
      });
      from.on("error", () => {});
      from.on("close", () => {
        this.#sockets.delete(from);
        // What ends while bytes are lost is not heard of on the other side either.
        if (!from.lost) to.destroy();
      });
    }
  }
}

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};
/** What the README promises to be enough. */
export const POLICY =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws: wss:; img-src 'self' data:";

/** Serves a folder, the built app's by default; it stays up whatever happens to the hub. */
export async function serve(folder = DIST, policy = POLICY) {
  const server = createHttpServer(async (request, response) => {
    const path = new URL(request.url, "http://app").pathname;
    const file = join(folder, normalize(path === "/" ? "index.html" : path));
    try {
      const bytes = await readFile(file);
      const type = TYPES[extname(file)] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type, "content-security-policy": policy });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

/** How long a thing may take that is to come. No bar of speed: the machine may be loaded to any degree. */
export const PATIENCE_MS = 240_000;

/** A browser profile of its own, on disk: one device. */
export async function profile(name) {
  const context = await chromium.launchPersistentContext(await temporary(name), {
    ...CHROMIUM,
    viewport: { width: 1280, height: 800 },
  });
  context.setDefaultTimeout(PATIENCE_MS);
  onEnd(() => context.close());
  return context;
}

/** Polls until `look` gives something, and gives that. For what no event tells of. */
export async function until(look, what) {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() > deadline) assert.fail(`not within ${PATIENCE_MS} ms: ${typeof what === "function" ? await what() : what}`);
    await new Promise((next) => setTimeout(next, 20));
  }
}

/** The app in a tab, driven by its accessible names. */
export class Tab {
  static async open(context, site, options) {
    const page = await context.newPage();
    const tab = new Tab(page, options.name);
    page.on("pageerror", (error) => tab.complaints.push(error.message));
    page.on("console", (message) => {
      const isNetwork = /WebSocket connection|net::ERR_/.test(message.text());
      if (message.type() === "error" && !isNetwork) tab.complaints.push(message.text());
    });
    await page.goto(`${site}?${new URLSearchParams(options)}`);
    await page.getByTestId("status").waitFor();
    return tab;
  }

  constructor(page, name) {
    this.page = page;
    this.name = name;
    this.complaints = [];
  }

  box = (name) => this.page.getByRole("textbox", { name, exact: true });
  button = (name) => this.page.getByRole("button", { name, exact: true });
  items = () => this.page.getByRole("list", { name: "Notes", exact: true }).getByRole("listitem");
  item = (id) => this.page.locator(`[role=listitem][data-note-id="${id}"]`);
  status = () => this.page.getByTestId("status");
  version = (number) => this.page.getByRole("group", { name: `Version ${number}`, exact: true });

  async is(connection) {
    const text = () => this.status().textContent();
    await until(async () => (await text()) === connection, async () => `${this.name} is ${await text()}, not ${connection}`);
  }

  async settled() {
    const pending = () => this.status().getAttribute("data-pending");
    await until(async () => (await pending()) === "0", async () => `${this.name} has ${await pending()} pending`);
  }

  /** This tab's replica. */
  replica() {
    return this.page.getByRole("list", { name: "Online" }).locator("[data-self=true]").getAttribute("data-replica");
  }

  async switchOffline(isOffline) {
    const control = this.page.getByRole("switch", { name: "Offline", exact: true });
    if ((await control.getAttribute("aria-checked")) !== String(isOffline)) await control.click();
    if (isOffline) await this.is("offline");
  }

  async add({ title, body = "", tags = "" }) {
    const before = new Set(await this.ids());
    await this.button("New note").click();
    const id = await until(async () => (await this.ids()).find((id) => !before.has(id)), "a new note");
    await this.write({ title, body, tags });
    return id;
  }

  async edit(id, fields) {
    await this.item(id).click();
    await this.write(fields);
  }

  async write({ title, body, tags }) {
    if (title !== undefined) await this.box("Title").fill(title);
    if (body !== undefined) await this.box("Body").fill(body);
    if (tags !== undefined) await this.box("Tags").fill(tags);
    await this.saved();
  }

  async saved() {
    await this.page.getByText("saving…").waitFor({ state: "detached" });
  }

  async remove(id) {
    await this.item(id).click();
    await this.button("Delete note").click();
    await this.item(id).waitFor({ state: "detached" });
    await this.saved();
  }

  ids() {
    return this.items().evaluateAll((items) => items.map((item) => item.getAttribute("data-note-id")));
  }

  async clashing() {
    const items = this.page.locator('[role=listitem][data-conflict="true"]');
    return items.evaluateAll((items) => items.map((item) => item.getAttribute("data-note-id")).sort());
  }

  /** Every note as the editor shows it, by id. */
  async notes() {
    const notes = {};
    for (const id of await this.ids()) {
      await this.item(id).click();
      const [title, body, tags] = await Promise.all(["Title", "Body", "Tags"].map((name) => this.box(name).inputValue()));
      notes[id] = { title, body, tags: tagsOf(tags) };
    }
    return notes;
  }

  /** The conflict log as shown: what of, and whether it is still open. */
  async conflictLog() {
    const entries = this.page.locator(".conflict-entry");
    return entries.evaluateAll((entries) =>
      entries.map((entry) => ({ kind: entry.dataset.kind, open: entry.dataset.open === "true", text: entry.textContent })),
    );
  }
}

const tagsOf = (text) => text.split(",").map((tag) => tag.trim()).filter(Boolean).sort();

/** The terminal client on a data directory of its own: a native device. */
export class Terminal {
  constructor(folder, hub, document) {
    this.args = ["--data", folder, "--hub", hub, "--doc", document, "--json"];
  }

  async run(...args) {
    const process = spawn(NOTES, [...this.args, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    process.stdout.on("data", (bytes) => (out += bytes));
    process.stderr.on("data", (bytes) => (err += bytes));
    const [code] = await once(process, "close");
    assert.equal(code, 0, `notes ${args.join(" ")}: ${err}`);
    return JSON.parse(out);
  }

  sync = (seconds = 90) => this.run("sync", "--timeout", String(seconds));

  async notes() {
    const notes = await this.run("ls");
    return Object.fromEntries(notes.map(({ id, title, body, tags }) => [id, { title, body, tags: [...tags].sort() }]));
  }

  /** Runs `notes watch` and tells of each note that it prints. */
  watch(onNote) {
    const process = spawn(NOTES, [...this.args, "watch"], { stdio: ["ignore", "pipe", "inherit"] });
    const waiting = new Set();
    createInterface(process.stdout).on("line", (line) => {
      const { note, status } = JSON.parse(line);
      if (note) onNote(note);
      for (const look of waiting) look({ note, status });
    });
    const stop = async () => {
      if (process.exitCode !== null) return;
      const ended = once(process, "exit");
      process.kill("SIGTERM");
      const [code] = await ended;
      assert.equal(code, 0, "watch ends cleanly");
    };
    onEnd(stop);
    const event = (is) =>
      new Promise((resolve) => {
        const look = (seen) => {
          if (!is(seen)) return;
          waiting.delete(look);
          resolve(performance.now());
        };
        waiting.add(look);
      });
    return { stop, event };
  }
}
