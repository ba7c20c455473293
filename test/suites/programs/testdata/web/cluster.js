// PORT: two workers of the cluster module. At HUP, the primary starts new workers.
const cluster = require("cluster");
if (cluster.isPrimary) {
  const replace = () => {
    const old = Object.values(cluster.workers);
    for (let i = 0; i < 2; i++) {
      cluster.fork();
    }
    cluster.once("listening", () => old.forEach((worker) => worker.kill("SIGKILL")));
  };
  process.on("SIGHUP", replace);
  replace();
} else {
  require("./serve.js");
}
