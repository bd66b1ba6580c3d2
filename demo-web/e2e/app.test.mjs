/** The app alone, in Chromium, on a stand-in for the package: typing, the keyboard, what is shown. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, afterEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { build, preview } from "vite";
import { CHROMIUM, PATIENCE_MS, POLICY, until } from "./rig.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const standIn = fileURLToPath(new URL("stand-in.js", import.meta.url));

let folder, server, browser, address, page, complaints;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "demo-web-"));
  const common = { root, logLevel: "error", build: { outDir: folder, emptyOutDir: true } };
  await build({ ...common, resolve: { alias: { "sync-sdk": standIn } } });
  const headers = { "content-security-policy": POLICY };
  server = await preview({ ...common, preview: { host: "127.0.0.1", port: 0, headers } });
  address = `http://127.0.0.1:${server.httpServer.address().port}/`;
  browser = await chromium.launch(CHROMIUM);
});

after(async () => {
  await browser?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  complaints = [];
  page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  await page.goto(`${address}?doc=test&name=Anna`);
});

afterEach(async () => {
  await page.close();
  assert.deepEqual(complaints, []);
});

const box = (name) => page.getByRole("textbox", { name, exact: true });
const button = (name) => page.getByRole("button", { name, exact: true });
const items = () => page.getByRole("list", { name: "Notes" }).getByRole("listitem");
const stored = () => page.evaluate(() => globalThis.stored());
const others = (what, ...args) => page.evaluate(([what, args]) => globalThis.others[what](...args), [what, args]);
const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
const status = () => page.getByTestId("status");

/** Makes a note by keyboard alone and returns its id. */
async function write(title, body = "") {
  await button("New note").press("Enter");
  await page.keyboard.type(title);
  await page.keyboard.press("Enter");
  await page.keyboard.type(body);
  return items().first().getAttribute("data-note-id");
}

test("a new note takes the focus, and each key is written", async () => {
  await button("New note").click();
  assert.equal(await focused(), "Title");
  await page.keyboard.type("Hello");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "Body");
  await page.keyboard.type("One\ntwo");
  await box("Tags").pressSequentially("red, blue ,");
  assert.equal(await box("Tags").inputValue(), "red, blue ,", "the text stays as typed");
  const [note] = await stored();
  assert.deepEqual([note.title, note.body, note.tags], ["Hello", "One\ntwo", ["blue", "red"]]);
  assert.match(await items().first().textContent(), /Hello.*One two.*blue.*red/);
  assert.equal(await items().first().getAttribute("data-conflict"), "false");
});

test("a change from elsewhere leaves the caret beside the same characters", async () => {
  const id = await write("Title", "middle");
  await box("Body").evaluate((element) => element.setSelectionRange(3, 3));
  await others("write", id, { body: "before middle after" });
  await page.keyboard.type("|");
  assert.equal((await stored())[0].body, "before mid|dle after");
});

test("no character is lost while other fields change", async () => {
  const id = await write("Title");
  await page.evaluate((id) => {
    let count = 0;
    setInterval(() => globalThis.others.write(id, { title: `title ${(count += 1)}` }), 3);
  }, id);
  const text = "The quick brown fox jumps over the lazy dog. ".repeat(3);
  await box("Body").pressSequentially(text, { delay: 2 });
  assert.equal(await box("Body").inputValue(), text);
  assert.equal((await stored())[0].body, text);
});

test("an input method composes undisturbed", async () => {
  const id = await write("Title", "x");
  const devtools = await page.context().newCDPSession(page);
  for (const text of ["k", "か", "かn", "かん"]) {
    const end = text.length;
    await devtools.send("Input.imeSetComposition", { text, selectionStart: end, selectionEnd: end });
    await others("write", id, { title: text, body: "theirs" });
  }
  await devtools.send("Input.insertText", { text: "漢" });
  assert.equal(await box("Body").inputValue(), "x漢");
  assert.equal((await stored())[0].body, "x漢");
});

test("a tag that somebody adds while tags are typed stays", async () => {
  const id = await write("Title");
  await box("Tags").pressSequentially("red,");
  await others("addTag", id, "theirs");
  await box("Tags").pressSequentially(" blue");
  assert.deepEqual((await stored())[0].tags, ["blue", "red", "theirs"]);
  await box("Title").focus();
  assert.equal(await box("Tags").inputValue(), "blue, red, theirs");
});

test("both versions are shown, and one click keeps one", async () => {
  const id = await write("Title", "mine");
  await others("clash", id, "body", "theirs");
  assert.equal(await box("Body").inputValue(), "mine", "not taken over while a person types");
  assert.equal(await items().first().getAttribute("data-conflict"), "true");
  await until(async () => (await box("Body").inputValue()) === "theirs", "the shown version arrives");
  const group = (number) => page.getByRole("group", { name: `Version ${number}` });
  assert.match(await group(1).textContent(), /theirs/);
  assert.match(await group(2).textContent(), /mine/);
  await group(2).getByRole("button", { name: "Keep this version" }).click();
  assert.equal(await box("Body").inputValue(), "mine");
  assert.equal(await items().first().getAttribute("data-conflict"), "false");
  assert.equal(await group(1).count(), 0);
});

test("a note deleted elsewhere while typing goes on as a new one", async () => {
  const id = await write("Title", "typed ");
  await others("remove", id);
  await page.getByText("deleted somewhere else").waitFor();
  assert.equal(await items().count(), 0);
  await page.keyboard.type("on");
  const [note, ...rest] = await stored();
  assert.deepEqual([note.title, note.body, rest], ["Title", "typed on", []]);
  assert.notEqual(note.id, id);
  assert.equal(await focused(), "Body");
});

test("the list works without a mouse", async () => {
  await write("First");
  await page.keyboard.press("Escape");
  await page.keyboard.press("n");
  await page.keyboard.type("Second");
  await page.keyboard.press("Escape");
  assert.deepEqual(await page.locator(".note-item-title").allTextContents(), ["Second", "First"]);
  await page.keyboard.press("ArrowDown");
  assert.equal(await box("Title").inputValue(), "First");
  await page.keyboard.press("Delete");
  assert.deepEqual((await stored()).map((note) => note.title), ["Second"]);
  await page.keyboard.press("Control+z");
  assert.deepEqual((await stored()).map((note) => note.title), ["Second", "First"]);
  await page.keyboard.press("/");
  await page.keyboard.type("sec");
  assert.equal(await items().count(), 1);
  await page.keyboard.press("Escape");
  assert.equal(await box("Search").inputValue(), "");
  assert.equal(await items().count(), 2);
});

test("search finds title, body and tags", async () => {
  await write("Bread", "flour and water");
  await box("Tags").fill("kitchen");
  await write("Ferry", "7:40");
  for (const query of ["BREAD", "water flour", "#kitch", "kitchen"]) {
    await box("Search").fill(query);
    assert.match((await items().allTextContents()).join(), /^Bread/, query);
  }
  await box("Search").fill("#bread");
  assert.equal(await items().count(), 0);
});

test("delete can be undone", async () => {
  await write("Kept", "text");
  await button("Delete note").click();
  assert.equal(await items().count(), 0);
  await button("Undo").click();
  assert.equal(await box("Body").inputValue(), "text");
});

test("the switch, the status and what is safe", async () => {
  const offline = page.getByRole("switch", { name: "Offline" });
  await offline.check();
  await until(async () => (await status().textContent()) === "offline", "offline");
  assert.equal(await offline.getAttribute("aria-checked"), "true");
  await button("New note").click();
  await page.getByText("Saved on this device, goes to the hub").waitFor();
  assert.equal(await status().getAttribute("data-pending"), "1");
  await offline.uncheck();
  await page.getByText("Saved on this device and on the hub").waitFor();
  assert.equal(await status().textContent(), "online");
  assert.equal(await status().getAttribute("data-pending"), "0");
  const online = page.getByRole("list", { name: "Online" }).getByRole("listitem");
  assert.deepEqual(await online.allTextContents(), ["Anna (you)"]);
});

test("what cannot be written stays in the box", async () => {
  await write("Title", "kept ");
  await others("fail", "the disk is full");
  assert.match(await page.getByRole("alert").textContent(), /the disk is full/);
  await box("Body").pressSequentially("text");
  assert.equal(await box("Body").inputValue(), "kept text");
});

test("a document that cannot be opened says why", async () => {
  await page.goto(`${address}?doc=broken`);
  assert.match(await page.getByRole("main").textContent(), /the file is from a newer version/);
});
