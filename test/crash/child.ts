/** A host in a process of its own: `node child.ts <address> <kill at> <file for what is exported>`. */
import { openAddress } from "./address.ts";
import { liveAndDie } from "./task.ts";

const [address = "", killAt = "0", exportPath = ""] = process.argv.slice(2);
console.log(await liveAndDie((faults) => openAddress(address, faults), Number(killAt), exportPath));
