// PORT: has the title of the server of Next.js, and like that server no handler for SIGHUP.
const fs = require("fs");
process.title = "next-server (v14.2.9)";
const value = fs.readFileSync(process.env.VALUE, "utf8");
require("http").createServer((request, response) => response.end(`notified ${value}\n`))
  .listen(process.argv[2], "127.0.0.1");
