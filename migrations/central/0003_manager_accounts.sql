-- Who may sign in to the manager's pages.

CREATE TABLE manager_accounts (
    name           text PRIMARY KEY,
    -- argon2id, as a PHC string
    password_hash  text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
-- Ada and ada are one person.
CREATE UNIQUE INDEX manager_accounts_by_name ON manager_accounts (lower(name));
