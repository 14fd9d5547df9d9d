# Record which packages this run installs, so that mailserver.clean can remove these, and no others.
mailserver-packages-before:
  mailserver.packages_noted:
    - name: packages before this run
    - order: first

mailserver-packages-after:
  mailserver.packages_noted:
    - name: packages after this run
    - ended: true
    - order: last
