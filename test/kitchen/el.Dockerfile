# What kitchen-docker runs kitchen on for the EL systems (ERB, with the driver's settings), in the place of its own, which
# makes a DSA host key: OpenSSH 9.8 and later refuse that (kitchen-docker issue 426).
FROM <%= @image %>
ENV container=docker
<% if @image.include?('centos:7') %>
# CentOS 7 is only in the archive since its end.
RUN sed -i -e 's|^mirrorlist=|#&|' -e 's|^#baseurl=http://mirror.centos.org/|baseurl=http://vault.centos.org/|' \
      /etc/yum.repos.d/CentOS-*.repo
<% end %>
RUN yum install -y sudo openssh-server openssh-clients which && ssh-keygen -A && systemctl enable sshd
RUN id <%= @username %> || useradd --create-home <%= @username %>
RUN printf '%s\n' 'Defaults !requiretty' '<%= @username %> ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/kitchen
RUN install -d -m 0700 -o <%= @username %> /home/<%= @username %>/.ssh && \
    echo '<%= IO.read(@public_key).strip %>' >/home/<%= @username %>/.ssh/authorized_keys && \
    chmod 0600 /home/<%= @username %>/.ssh/authorized_keys && \
    chown <%= @username %> /home/<%= @username %>/.ssh/authorized_keys
