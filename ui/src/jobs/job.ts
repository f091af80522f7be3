/** The one thing to do next. It is always drawn at the same place: the foot of the right column. */
export interface PrimaryAction {
  label: string;
  /** The key that does it. */
  hint?: string;
  testid: string;
  isEnabled: boolean;
  tone?: 'primary' | 'danger';
  run(): void;
}

/** Something done beside the cart: a panel on the left, and what its primary action is. */
export interface Job {
  /** Null while there is nothing to confirm: then the cart's own action, Pay, stands there. */
  readonly primary: PrimaryAction | null;
}
