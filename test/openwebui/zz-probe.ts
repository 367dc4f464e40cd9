import { chromium } from 'playwright-core';
import { startTenants } from './tenants.ts';
const v = process.argv[2] as any;
const t = await startTenants({ version: v });
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--headless','--no-sandbox','--disable-gpu','--disable-quic','--no-first-run','--disable-background-networking','--disable-component-update','--disable-sync'] });
try {
  for (const [label, url] of [['bare', t.backend.url], ['gate', t.gate.url]] as const) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    page.on('console', (m) => { if (m.type() === 'error' || m.type() === 'warning') console.log(label, m.type(), m.text().slice(0, 300), m.location().url); });
    page.on('pageerror', (e) => console.log(label, 'PAGEERROR', e.message.slice(0, 300)));
    page.on('response', (r) => { if (r.status() >= 400) console.log(label, r.status(), r.request().method(), r.url()); });
    page.on('requestfailed', (r) => console.log(label, 'FAILED', r.url(), r.failure()?.errorText));
    page.on('websocket', (w) => console.log(label, 'WS', w.url()));
    const t0 = Date.now();
    await page.goto(url + '/auth');
    await page.waitForSelector('#email', { timeout: 60_000 });
    console.log(label, 'auth page after', Date.now() - t0);
    await page.screenshot({ path: `/tmp/art/${v}-${label}-auth.png` });
    console.log(await page.locator('form').innerText());
    await page.fill('#email', 'ann@acme.example');
    await page.fill('input[type=password]', 'Correct-horse-7');
    await page.locator('button[type=submit]').click();
    await page.waitForSelector('#chat-input', { timeout: 60_000 });

    const step = async (name: string, f: () => Promise<unknown>) => { try { console.log(label, name, JSON.stringify(await f()).slice(0, 1200)); } catch (e: any) { console.log(label, name, 'ERR', e.message.slice(0, 400)); } };
    const picker = page.locator('[id^=model-selector-][id$=-button]').first();
    await picker.click();
    await page.waitForTimeout(700);
    await page.screenshot({ path: `/tmp/art/${v}-${label}-picker.png` });
    await step('items', () => page.locator('[aria-label="model-item"], [role=option], [data-value]').evaluateAll((bs: any[]) => bs.map((b) => [b.tagName, b.getAttribute('role'), b.getAttribute('aria-label'), b.getAttribute('data-value'), b.innerText.slice(0, 40)])));
    await page.keyboard.press('Escape');
    await page.locator('#chat-input').click();
    await page.keyboard.type('Who are you?');
    await page.keyboard.press('Enter');
    await step('answer', async () => { await page.getByText('and this is my answer.').first().waitFor({ timeout: 20000 }); return page.url(); });
    await page.waitForTimeout(1500);
    await page.screenshot({ path: `/tmp/art/${v}-${label}-chat.png` });
    await step('messages', () => page.locator('[id^=message-], .chat-assistant, .chat-user').evaluateAll((bs: any[]) => bs.map((b) => [b.tagName, b.id.slice(0,30), b.className.slice(0,60), b.innerText.slice(0, 60)])));
    await page.reload();
    await step('answer after reload', async () => { await page.getByText('and this is my answer.').first().waitFor({ timeout: 20000 }); return page.url(); });
    await step('usermenus', () => page.locator('[aria-label="User menu"], [aria-label="Open User Profile Menu"], button:has-text("User menu")').evaluateAll((bs: any[]) => bs.map((b) => [b.tagName, b.id, b.className.slice(0,60), b.innerText.slice(0, 60), b.offsetWidth])));
    await step('menu', async () => { await page.locator('[aria-label="User menu"]:visible, button:has-text("User menu"):visible, button:has(img[alt="User profile"]):visible').first().click(); await page.waitForTimeout(700); await page.screenshot({ path: `/tmp/art/${v}-${label}-menu.png` }); return page.getByText('Sign Out').count(); });
    await step('signout', async () => { await page.getByText('Sign Out').first().click(); await page.waitForSelector('#email'); return page.url(); });
    await context.close();
  }
} catch (e) { console.log(e); } finally { await browser.close(); await t.close(); }
process.exit(0);
