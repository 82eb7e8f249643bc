// Records a sound with the microphone.

import { byId, setIcon } from "./dom.js";
import { toast } from "./toast.js";

const LONGEST = 30; // seconds
const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

export class Recorder {
  #recorder = null;
  #timer = null;
  #began = 0;

  constructor(take) {
    this.take = take;
    this.button = byId("record");
    this.button.addEventListener("click", () => this.toggle());
  }

  toggle() {
    if (this.#recorder) this.#recorder.stop();
    else this.#start();
  }

  async #start() {
    try {
      const stream = await microphone();
      const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
      this.#record(stream, new MediaRecorder(stream, mimeType ? { mimeType } : {}));
    } catch (error) {
      toast(why(error), "bad");
    }
  }

  #record(stream, recorder) {
    const parts = [];
    this.#recorder = recorder;
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      this.#show(false);
      this.take(file(parts, recorder.mimeType));
    });
    recorder.start();
    this.#began = performance.now();
    this.#show(true);
  }

  #show(isRecording) {
    clearInterval(this.#timer);
    if (!isRecording) this.#recorder = null;
    this.button.classList.toggle("recording", isRecording);
    setIcon(this.button, isRecording ? "stop" : "mic");
    delete this.button.dataset.time;
    const label = isRecording ? "Stop and search" : "Search with a recording";
    this.button.setAttribute("aria-label", label);
    if (isRecording) this.#timer = setInterval(() => this.#tick(), 100);
  }

  #tick() {
    const seconds = (performance.now() - this.#began) / 1000;
    this.button.dataset.time = `${seconds.toFixed(1)} s`;
    if (seconds >= LONGEST) this.#recorder?.stop();
  }
}

function microphone() {
  // Browsers hide it from pages loaded over plain http from another machine.
  if (!navigator.mediaDevices || !window.MediaRecorder) throw new Error("hidden");
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  return navigator.mediaDevices.getUserMedia({ audio: plain });
}

function file(parts, type) {
  const ending = type.includes("ogg") ? "ogg" : type.includes("mp4") ? "m4a" : "webm";
  const name = `recording ${new Date().toTimeString().slice(0, 8).replaceAll(":", ".")}.${ending}`;
  return new File(parts, name, { type });
}

function why(error) {
  if (error.name === "NotAllowedError") {
    return "Microphone access was denied. Allow it for this page with the icon next to the address, then try again.";
  }
  if (error.name === "NotFoundError") return "No microphone found. Connect one and try again.";
  if (error.name === "NotReadableError") {
    return "The microphone is in use by another program. Close that program and try again.";
  }
  return "Browsers allow recording only over https or on the server’s own machine. Drop a sound file instead.";
}
