/** A short low tone for "that did not work", heard without looking up. Silence where there is no sound is no error. */

const TONE_HZ = 220;
const TONE_S = 0.18;

let context: AudioContext | null = null;

export function beep(): void {
  if (typeof AudioContext === 'undefined') return;
  try {
    context ??= new AudioContext();
    if (context.state === 'suspended') void context.resume();
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.type = 'square';
    tone.frequency.value = TONE_HZ;
    volume.gain.setValueAtTime(0.08, context.currentTime);
    volume.gain.exponentialRampToValueAtTime(0.001, context.currentTime + TONE_S);
    tone.connect(volume).connect(context.destination);
    tone.start();
    tone.stop(context.currentTime + TONE_S);
  } catch {
    context = null;
  }
}
