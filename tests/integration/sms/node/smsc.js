// An SMSC by npm's `smpp`, driven by a test over stdin and stdout: one JSON value a line.
//
// A test says {"id", "do", ...} and gets {"done": id}; what happens is told as {"event", ...}.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const sessions = new Set();
const sockets = new Set();
const script = [];
let standard = { status: 0, receipts: [2], receipt_first: false, form: 'parameters' };
let password = null;
let submissions = 0;
let server = null;
let port = 0;

const STATES = [
  '', 'ENROUTE', 'DELIVRD', 'EXPIRED', 'DELETED', 'UNDELIV', 'ACCEPTD', 'UNKNOWN', 'REJECTD',
];

function tell(value) {
  process.stdout.write(JSON.stringify(value) + '\n');
}

function octets(message) {
  // The library took the user data header apart; here it is put together again.
  const elements = Buffer.concat(message.udh || []);
  const header = message.udh ? Buffer.concat([Buffer.from([elements.length]), elements]) : elements;
  return Buffer.concat([header, Buffer.from(message.message)]).toString('hex');
}

function report(session, pdu, name, state, form) {
  const receipt = {
    esm_class: 4,
    source_addr: pdu.destination_addr,
    destination_addr: pdu.source_addr,
  };
  if (form === 'text') {
    const now = new Date().toISOString().replace(/\D/g, '').slice(2, 12);
    receipt.short_message =
      `id:${name} sub:001 dlvrd:001 submit date:${now} done date:${now} ` +
      `stat:${STATES[state]} err:000 text:`;
  } else {
    receipt.receipted_message_id = name;
    receipt.message_state = state;
  }
  session.deliver_sm(receipt);
}

function submitted(session, pdu) {
  submissions += 1;
  const name = submissions.toString(16).padStart(8, '0');
  const reply = script.length ? script.shift() : standard;
  tell({
    event: 'submission',
    number: '+' + pdu.destination_addr,
    sender: pdu.source_addr,
    user_data: octets(pdu.short_message),
    message_id: name,
    accepted: reply.status === 0,
  });
  if (reply.status === null) return;
  const answer = () =>
    session.send(
      pdu.response(
        reply.status === 0 ? { message_id: name } : { command_status: reply.status },
      ),
    );
  if (reply.status !== 0) return answer();
  if (!reply.receipt_first) answer();
  if (pdu.registered_delivery & 3) {
    for (const state of reply.receipts) report(session, pdu, name, state, reply.form);
  }
  if (reply.receipt_first) answer();
}

function welcome(session) {
  sockets.add(session.socket);
  const gone = () => {
    sockets.delete(session.socket);
    if (sessions.delete(session)) tell({ event: 'bound', count: sessions.size });
  };
  session.on('bind_transceiver', (pdu) => {
    if (password !== null && pdu.password !== password) {
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
      return session.close();
    }
    session.send(pdu.response({ system_id: 'NODE' }));
    sessions.add(session);
    tell({ event: 'bound', count: sessions.size });
  });
  session.on('submit_sm', (pdu) => submitted(session, pdu));
  session.on('enquire_link', (pdu) => {
    session.send(pdu.response());
    tell({ event: 'enquired' });
  });
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    session.close();
  });
  session.on('close', gone);
  session.on('error', gone);
}

const commands = {
  listen: (done) => {
    server = smpp.createServer(welcome);
    server.listen(port, '127.0.0.1', () => {
      port = server.address().port;
      done({ port });
    });
  },
  leave: (done) => {
    server.close();
    for (const socket of sockets) socket.destroy();
    done();
  },
  cut: (done) => {
    for (const socket of sockets) socket.destroy();
    done();
  },
  script: (done, { replies }) => {
    script.push(...replies);
    done();
  },
  standard: (done, { reply }) => {
    standard = reply;
    done();
  },
  password: (done, { value }) => {
    password = value;
    done();
  },
  say: (done, { text }) => {
    for (const session of sessions) {
      session.deliver_sm({ esm_class: 4, source_addr: '1', short_message: text });
    }
    done();
  },
};

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, do: name, ...rest } = JSON.parse(line);
    commands[name]((more) => tell({ done: id, ...more }), rest);
  })
  .on('close', () => process.exit(0));
