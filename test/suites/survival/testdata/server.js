// VALUE PIDFILE DELAY: prints "notified N" at HUP, N being what the file VALUE holds
// then; the handler is there after DELAY milliseconds.
const fs = require('node:fs');
const [value, pidfile, delay] = process.argv.slice(2);

fs.writeFileSync(pidfile, `${process.pid}\n`);
setInterval(() => {}, 1 << 30); // keeps it running
setTimeout(() => {
  process.on('SIGHUP', () => console.log(`notified ${fs.readFileSync(value, 'utf8')}`));
  console.log('ready');
}, Number(delay));
