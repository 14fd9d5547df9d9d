include:
  - mailserver.accounts.users
  - mailserver.accounts.aliases
