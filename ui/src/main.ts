import './lib/design/base.css';
import { mount } from 'svelte';
import App from './views/App.svelte';
import { theme } from './lib/theme.svelte';
import { locale } from './lib/messages';

document.documentElement.lang = locale;
theme.start();
const target = document.getElementById('app');
if (target) mount(App, { target });
