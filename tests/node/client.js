// A client of the fleet in another language, written from docs/subjects.md and nothing else.
//
//   node client.js <nats url> <fleet> <capability> <newcomer>
//
// The capability takes {"text": …} and gives the text back; <newcomer> is the id of an agent that
// joins once this has printed "ready". Each finding is printed as a line of JSON, {"step": …, …}:
// tests/e2e/test_node_client.py reads them.
"use strict";

const { connect, createInbox, headers, Empty, JSONCodec } = require("nats");

const [url, fleet, capability, newcomer] = process.argv.slice(2);
const json = JSONCodec();
const me = `node-${Math.random().toString(36).slice(2, 12)}`;
const root = `fleet.${fleet}`;

function say(step, found) {
  console.log(JSON.stringify({ step, ...found }));
}

function fields(values) {
  const made = headers();
  for (const [name, value] of Object.entries(values)) made.set(name, value);
  return made;
}

function outcome(message) {
  const found = { state: message.headers.get("Fleet-State") };
  const error = message.headers.get("Fleet-Error");
  if (error) found.error = JSON.parse(error);
  if (message.data.length) found.output = json.decode(message.data);
  found.agent = message.headers.get("Fleet-Agent");
  found.attempt = Number(message.headers.get("Fleet-Attempt"));
  return found;
}

// Subscribes, and keeps what comes until somebody asks for it.
function watch(nc, subject) {
  const kept = [];
  let look = () => {};
  nc.subscribe(subject, {
    callback: (problem, message) => {
      if (problem) throw problem;
      kept.push(message);
      look();
    },
  });
  return {
    // The next message that `wanted` accepts; those before it are dropped.
    next: (wanted = () => true) => new Promise((resolve) => {
      look = () => {
        while (kept.length) {
          const message = kept.shift();
          if (wanted(message)) {
            look = () => {};
            resolve(message);
            return;
          }
        }
      };
      look();
    }),
  };
}

async function request(nc, subject, body, values) {
  return nc.request(subject, body, { timeout: 5000, headers: fields(values) });
}

async function submit(nc, seq, wanted, input) {
  const id = `${me}.${seq}`;
  const answer = await request(nc, `${root}.task.${wanted}.p1.${id}`, json.encode(input), {
    "Nats-Msg-Id": id,
    "Content-Type": "application/json",
    "Fleet-Caller": me,
  });
  return { id, ack: json.decode(answer.data) };
}

async function registry(nc) {
  const inbox = createInbox();
  const page = watch(nc, inbox);
  const query = { seq: 1, next_by_subj: `$KV.REGISTRY_${fleet}.>`, batch: 512 };
  nc.publish(`$JS.API.DIRECT.GET.KV_REGISTRY_${fleet}`, json.encode(query), { reply: inbox });
  const cards = [];
  for (;;) {
    const message = await page.next();
    if (message.headers.code === 204 || message.headers.code === 404) return cards;
    if (message.data.length) cards.push(json.decode(message.data));
  }
}

async function main() {
  const nc = await connect({ servers: url, name: me, timeout: 5000 });
  const heartbeats = watch(nc, `${root}.hb.*.*`);
  const adverts = watch(nc, `${root}.advert.*`);
  const results = watch(nc, `${root}.done.${me}.*`);
  const progress = watch(nc, `${root}.progress.${me}.*`);
  await nc.flush();
  say("ready", { client: me });

  const advert = await adverts.next((one) => one.subject === `${root}.advert.${newcomer}`);
  say("advert", { subject: advert.subject, card: json.decode(advert.data) });
  const beat = await heartbeats.next();
  say("heartbeat", { subject: beat.subject, beat: json.decode(beat.data) });

  const task = await submit(nc, 1, capability, { text: "from node" });
  say("submitted", task);
  const done = await results.next((message) => message.subject === `${root}.done.${task.id}`);
  say("result", outcome(done));
  const sign = await progress.next();
  say("progress", json.decode(sign.data));
  say("again", await submit(nc, 1, capability, { text: "from node" }));

  const place = `$JS.API.DIRECT.GET.RESULTS_${fleet}.${root}.result.`;
  say("later", outcome(await request(nc, place + task.id, Empty, {})));
  const nothing = await request(nc, `${place}${me}.404`, Empty, {});
  say("nothing", { status: nothing.headers.code });

  const soon = { "Content-Type": "application/json", "Fleet-Deadline": `${Date.now() + 5000}` };
  const input = json.encode({ text: "a call" });
  say("call", outcome(await request(nc, `${root}.call.${capability}`, input, soon)));

  say("agents", { names: (await registry(nc)).map((card) => card.agent).sort() });

  const inbox = createInbox();
  const replies = watch(nc, inbox);
  const command = { id: "ping-1", verb: "ping", selector: "site=default", issued_by: me };
  nc.publish(`${root}.cmd.site.default`, json.encode(command), { reply: inbox });
  const reply = await replies.next((message) => json.decode(message.data).command === "ping-1");
  say("reply", json.decode(reply.data));

  // Nobody offers this, so the task waits until it is canceled.
  const waiting = await submit(nc, 2, "nobody-offers-this", {});
  const filter = `${root}.task.*.*.${waiting.id}`;
  const conclude = {
    "Fleet-State": "canceled",
    "Fleet-Error": JSON.stringify({ message: "changed my mind" }),
    "Nats-Expected-Last-Subject-Sequence": "0",
  };
  const where = `${root}.result.${waiting.id}`;
  const won = json.decode((await request(nc, where, Empty, conclude)).data);
  const purged = await request(
    nc, `$JS.API.STREAM.PURGE.TASKS_${fleet}`, json.encode({ filter }), {},
  );
  const reason = json.encode({ message: "changed my mind" });
  nc.publish(`${root}.cancel.nobody-offers-this.${waiting.id}`, reason);
  const ended = await results.next((one) => one.subject === `${root}.done.${waiting.id}`);
  say("canceled", { won, purged: json.decode(purged.data).purged, ...outcome(ended) });
  const late = json.decode((await request(nc, where, Empty, conclude)).data);
  say("too late", { code: late.error.err_code });

  // Input that does not fit is a result too.
  const bad = await submit(nc, 3, capability, { text: 5 });
  const refused = await results.next((one) => one.subject === `${root}.done.${bad.id}`);
  say("rejected", outcome(refused));

  // Later, by the broker, where it can do that.
  const info = json.decode((await request(nc, "$JS.API.INFO", Empty, {})).data);
  if (info.api.level >= 2) {
    const id = `${me}.4`;
    await request(nc, `${root}.schedule.${id}`, json.encode({ text: "later" }), {
      "Nats-Msg-Id": `schedule-${id}`,
      "Content-Type": "application/json",
      "Nats-Schedule": `@at ${new Date(Date.now() + 100).toISOString()}`,
      "Nats-Schedule-Target": `${root}.due.${capability}.p1.${id}`,
    });
    const fired = await results.next((one) => one.subject === `${root}.done.${id}`);
    say("scheduled", outcome(fired));
  }

  await nc.drain();
}

main().catch((problem) => {
  console.error(problem);
  process.exit(1);
});
