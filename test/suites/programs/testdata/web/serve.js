// PORT: an HTTP server that reads the file VALUE at its start and at HUP.
const fs = require("fs");
let value;
const read = () => { value = fs.readFileSync(process.env.VALUE, "utf8"); };
process.on("SIGHUP", read);
read();
require("http").createServer((request, response) => response.end(`notified ${value}\n`))
  .listen(process.argv[2], "127.0.0.1");
