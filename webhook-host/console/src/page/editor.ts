// A YAML editor: CodeMirror in a shadow root, whose style sheets the Content-Security-Policy allows without 'unsafe-inline'.

import { autocompletion, closeBrackets, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { yaml } from '@codemirror/lang-yaml';
import { HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from '@codemirror/lint';
import { EditorState } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { completions, type Schema } from './completion';

/** A remark about a line, from 1. */
export interface Remark {
  line: number;
  severity: 'error' | 'warning' | 'info';
  message: string;
}

const highlighting = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--key)' },
  { tag: [tags.string, tags.content], color: 'var(--text)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--value)' },
  { tag: [tags.comment, tags.lineComment], color: 'var(--muted)' },
  { tag: [tags.meta, tags.separator, tags.punctuation], color: 'var(--muted)' },
]);

const theme = EditorView.theme({
  '&': { backgroundColor: 'var(--surface)', color: 'var(--text)', height: '100%', fontSize: '14px' },
  '.cm-scroller': { fontFamily: 'ui-monospace, monospace', lineHeight: '1.5' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--surface)', color: 'var(--muted)', borderRight: '1px solid var(--line)' },
  '.cm-activeLine': { backgroundColor: 'var(--active)' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-2px' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
    backgroundColor: 'var(--selection)',
  },
  '.cm-tooltip': { backgroundColor: 'var(--page)', color: 'var(--text)', border: '1px solid var(--line)', maxWidth: '32rem' },
  '.cm-diagnostic': { whiteSpace: 'pre-wrap' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--page)' },
});

/** One of the page's editors. */
export class Editor {
  readonly #view: EditorView;
  #quiet = false;

  constructor(host: HTMLElement, label: string, schemaOf: (document: string[]) => Schema | undefined, changed: () => void) {
    const root = host.attachShadow({ mode: 'open' });
    const update = EditorView.updateListener.of((update) => {
      if (update.docChanged && !this.#quiet) changed();
    });
    this.#view = new EditorView({
      root,
      parent: root,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        indentOnInput(),
        closeBrackets(),
        highlightActiveLine(),
        yaml(),
        syntaxHighlighting(highlighting),
        autocompletion({ override: [completions(schemaOf)] }),
        lintGutter(),
        EditorState.tabSize.of(2),
        // Tab moves the focus, so that no one is caught in the editor.
        keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap, ...lintKeymap]),
        EditorView.contentAttributes.of({ 'aria-label': label }),
        theme,
        update,
      ],
    });
  }

  /** The text. */
  get text(): string {
    return this.#view.state.doc.toString();
  }

  /** Replaces the text, without a change being reported. */
  set text(text: string) {
    this.#quiet = true;
    this.#view.dispatch({ changes: { from: 0, to: this.#view.state.doc.length, insert: text } });
    this.#quiet = false;
  }

  /** Shows remarks at their lines, in place of earlier ones. */
  remark(remarks: Remark[]) {
    const { doc } = this.#view.state;
    const diagnostics = remarks.map(({ line, severity, message }): Diagnostic => {
      const { from, to, text } = doc.line(Math.min(Math.max(line, 1), doc.lines));
      return { from: from + (text.length - text.trimStart().length), to, severity, message };
    });
    this.#view.dispatch(setDiagnostics(this.#view.state, diagnostics.sort((a, b) => a.from - b.from)));
  }

  /** Puts the cursor at a line, from 1. */
  show(line: number) {
    const { doc } = this.#view.state;
    const { from } = doc.line(Math.min(Math.max(line, 1), doc.lines));
    this.#view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: 'center' }) });
    this.#view.focus();
  }
}
