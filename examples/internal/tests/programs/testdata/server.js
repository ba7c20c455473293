// VALUE PIDFILE DELAY: prints "told N" at HUP, N being what the file VALUE holds
// then; the handler is there after DELAY milliseconds.
const fs = require('node:fs');
const [value, pidfile, delay] = process.argv.slice(2);

fs.writeFileSync(pidfile, `${process.pid}\n`);
setInterval(() => {}, 1 << 30); // keeps it running
setTimeout(() => {
  process.on('SIGHUP', () => console.log(`told ${fs.readFileSync(value, 'utf8')}`));
  console.log('ready');
}, Number(delay));
