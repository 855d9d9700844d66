/* Speech: heard by the browser where it can, else recorded for the server to turn into words. */

const Recognition = window.SpeechRecognition ?? window.webkitSpeechRecognition;
const LONGEST_RECORDING_MS = 20000;
const PAUSE_MS = 1400;  // silence after which someone is taken to have finished
const LOUD = 0.015;
const LISTEN_EVERY_MS = 100;

/** What the Web Speech API calls what went wrong, and what is said of it. The others mean that its service cannot be used. */
const FAILURES = {"no-speech": "heardNothing", "not-allowed": "microphoneRefused", "audio-capture": "microphoneMissing"};

export class Ear {
  /**
   * `mode` is auto, server or off. `on` has: listening(whether), words(text) while someone speaks, heard(text) at the end, or
   * recorded(blob) where the server is to find the words, and failed(name of a text).
   */
  constructor(mode, language, on) {
    this.language = language;
    this.on = on;
    this.ways = isSecureContext && mode !== "off" ? [mode === "auto" && Recognition && "browser", canRecord() && "server"].filter(Boolean) : [];
    this.session = null;
  }

  /** Whether there is any way to listen. */
  get able() {
    return this.ways.length > 0;
  }

  /** Begin to listen, or end and search what was heard. */
  toggle() {
    if (this.session) this.session.finish();
    else this.#begin();
  }

  /** Forget what was heard. */
  cancel() {
    this.session?.cancel();
  }

  #begin() {
    const Session = this.ways[0] === "browser" ? Recognising : Recording;
    const session = new Session(this.language, {
      words: (text) => session === this.session && this.on.words(text),
      end: (outcome) => session === this.session && this.#end(outcome),
    });
    this.session = session;
    this.on.listening(true);
    session.start();
  }

  #end({text, blob, failure, unusable}) {
    this.session = null;
    if (unusable) this.ways.shift();  // this browser has speech input that nobody answers
    if (unusable && this.able) {
      this.#begin();
      return;
    }
    this.on.listening(false);
    if (text) this.on.heard(text);
    else if (blob) this.on.recorded(blob);
    else if (unusable || failure) this.on.failed(unusable ? "voiceUnusable" : failure);
  }
}

/** TRANSCRIBES is whether the server turns recordings into words, put in when the file is served. */
function canRecord() {
  return TRANSCRIBES && Boolean(window.MediaRecorder && navigator.mediaDevices?.getUserMedia);
}

/** One question heard by the browser's own speech input. */
class Recognising {
  constructor(language, on) {
    let said = "";
    let failure = null;
    this.cancelled = false;
    this.ear = Object.assign(new Recognition(), {lang: language, interimResults: true});
    this.ear.onresult = ({results}) => {
      said = [...results].map(([best]) => best.transcript.trim()).join(" ").trim();
      on.words(said);
    };
    this.ear.onerror = ({error}) => (failure = error);
    this.ear.onend = () => {
      if (this.cancelled || failure === "aborted") on.end({});
      else if (failure && !FAILURES[failure]) on.end({unusable: true});
      else on.end(said ? {text: said} : {failure: FAILURES[failure] ?? "heardNothing"});
    };
  }

  start() {
    this.ear.start();
  }

  finish() {
    this.ear.stop();
  }

  cancel() {
    this.cancelled = true;
    this.ear.abort();
  }
}

/** One question recorded; it ends by itself when someone who spoke pauses. */
class Recording {
  constructor(_language, on) {
    this.on = on;
    this.ended = false;
    this.cancelled = false;
    this.loud = false;
  }

  async start() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({audio: {channelCount: 1, echoCancellation: true, noiseSuppression: true}});
    } catch (error) {
      this.#end({failure: error.name === "NotFoundError" ? "microphoneMissing" : "microphoneRefused"});
      return;
    }
    if (this.ended) return this.#release();
    const parts = [];
    this.recorder = new MediaRecorder(this.stream, {audioBitsPerSecond: 32000});
    this.recorder.ondataavailable = ({data}) => parts.push(data);
    this.recorder.onstop = () => {
      if (this.cancelled) this.#end({});
      else this.#end(this.loud ? {blob: new Blob(parts, {type: this.recorder.mimeType})} : {failure: "heardNothing"});
    };
    this.recorder.start();
    this.timers = [setTimeout(() => this.finish(), LONGEST_RECORDING_MS), this.#watch()];
  }

  finish() {
    if (this.recorder?.state === "recording") this.recorder.stop();
    else if (!this.recorder) this.#end({});
  }

  cancel() {
    this.cancelled = true;
    this.finish();
  }

  /** Looks how loud it is: who has said nothing is not transcribed, and who has finished need not say so. */
  #watch() {
    this.context = new AudioContext();
    const analyser = this.context.createAnalyser();
    const samples = new Float32Array(analyser.fftSize);
    let quiet = 0;
    this.context.createMediaStreamSource(this.stream).connect(analyser);
    return setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const level = Math.sqrt(samples.reduce((sum, one) => sum + one * one, 0) / samples.length);
      quiet = level > LOUD ? 0 : quiet + LISTEN_EVERY_MS;
      this.loud ||= level > LOUD;
      if (this.loud && quiet >= PAUSE_MS) this.finish();
    }, LISTEN_EVERY_MS);
  }

  #end(outcome) {
    if (this.ended) return;
    this.ended = true;
    this.#release();
    this.on.end(outcome);
  }

  #release() {
    for (const timer of this.timers ?? []) clearTimeout(timer);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close();
  }
}
