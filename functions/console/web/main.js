import { heading } from "./components/x.js";

document.getElementById("app").append(heading("WBCS console"));
