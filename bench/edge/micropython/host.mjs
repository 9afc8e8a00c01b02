// A board with a network, played by Node.js: runs the main.py of a folder on MicroPython.
//
//   node host.mjs FOLDER [--heap BYTES]
//
// FOLDER becomes the root of the board's file system. What this build of MicroPython lacks
// (sockets, asyncio.run, os.getenv, ssl) board.py lays over it, with the functions below. The exit
// status is the program's. SIGTERM asks the agent to stop, as it does on CPython; SIGUSR2 prints
// the bytes of heap in use after a collection.

import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import process from "node:process";
import tls from "node:tls";
import { fileURLToPath } from "node:url";
import { loadMicroPython } from "@micropython/micropython-webassembly-pyscript";

const usage = "usage: node host.mjs FOLDER [--heap BYTES]";
const here = path.dirname(fileURLToPath(import.meta.url));
const [folder, option, bytes] = process.argv.slice(2);
if (!folder || (option && option !== "--heap") || !fs.existsSync(path.join(folder, "main.py"))) {
  console.error(folder ? `${folder}: there is no main.py in it; ${usage}` : usage);
  process.exit(2);
}

const sockets = new Map();
let last = 0;

function pem(base64, what) {
  return `-----BEGIN ${what}-----\n${base64}\n-----END ${what}-----\n`;
}

// What board.py asks for. Bytes travel as hex: between the two worlds there are only texts.
const board = {
  env: (name) => process.env[name] ?? null,

  open(host, port, secure, authority, serverName, wake) {
    const id = (last += 1);
    const where = { host, port, noDelay: true };
    const socket = secure
      ? tls.connect({ ...where, ca: authority ? pem(authority, "CERTIFICATE") : undefined,
                      servername: net.isIP(serverName) ? "" : serverName,
                      checkServerIdentity: (_, cert) => tls.checkServerIdentity(serverName, cert) })
      : net.connect(where);
    const state = { socket, kept: [], size: 0, up: false, over: false, error: "" };
    sockets.set(id, state);
    socket.on(secure ? "secureConnect" : "connect", () => { state.up = true; wake(); });
    socket.on("data", (data) => {
      state.kept.push(data);
      state.size += data.length;
      // A board has room for little: the rest waits with the sender.
      if (state.size > 16384) socket.pause();
      wake();
    });
    socket.on("end", () => { state.over = true; wake(); });
    socket.on("drain", () => wake());
    socket.on("error", (problem) => { state.error = problem.message || problem.code; });
    socket.on("close", () => { state.over = true; wake(); });
    return id;
  },

  state(id) {
    const state = sockets.get(id);
    if (!state || state.error) return `error ${state ? state.error : "it is closed"}`;
    if (state.size) return "data";
    if (state.over) return "over";
    return state.up ? "up" : "opening";
  },

  take(id, most) {
    const state = sockets.get(id);
    const all = Buffer.concat(state.kept);
    state.kept = all.length > most ? [all.subarray(most)] : [];
    state.size = Math.max(0, all.length - most);
    if (state.size <= 16384) state.socket.resume();
    return all.subarray(0, most).toString("hex");
  },

  send: (id, data) => sockets.get(id)?.socket.write(Buffer.from(data, "hex")),
  waiting: (id) => sockets.get(id)?.socket.writableLength ?? 0,

  close(id) {
    sockets.get(id)?.socket.destroy();
    sockets.delete(id);
  },
};

function die(problem) {
  // Never the whole error: it quotes the minified module that it was thrown in.
  console.error(problem.message);
  process.exit(1);
}

function copy(from, to) {
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), `${to}/${entry.name}`];
    if (entry.isDirectory()) {
      micropython.FS.mkdir(target);
      copy(source, target);
    } else {
      micropython.FS.writeFile(target, fs.readFileSync(source));
    }
  }
}

const micropython = await loadMicroPython({
  heapsize: Number(bytes ?? 256 * 1024),
  stdout: (line) => process.stdout.write(`${line}\n`),
  stderr: (line) => process.stderr.write(`${line}\n`),
});
process.on("uncaughtException", die);

function heap() {
  // It collects when the outermost call returns, and not before.
  micropython.runPython("import gc; gc.collect()");
  return micropython.runPython("import gc; print('heap', gc.mem_alloc(), gc.mem_free())");
}

micropython.registerJsModule("board_of_node", board);
copy(folder, "");
micropython.FS.writeFile("/lib_board.py", fs.readFileSync(path.join(here, "board.py")));
try {
  micropython.runPython("import lib_board");
  process.on("SIGUSR2", heap);
  process.on("SIGTERM", () => micropython.runPython("lib_board.stop()"));
  await micropython.runPythonAsync("await lib_board.main()");
  process.exit(Number(micropython.pyimport("lib_board").status ?? 0));
} catch (problem) {
  die(problem);
}
