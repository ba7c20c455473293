run_as_root = false
pidfile = '{dir}/pid'
data_path = '{dir}'
log = {info = '*console'}
interfaces = {'{host}'}
c2s_ports = {}
s2s_ports = {}
c2s_direct_tls_ports = {{port}}
modules_enabled = {'tls', 'saslauth'}
modules_disabled = {'s2s'}
ssl = {certificate = '{secrets}/tls.crt', key = '{secrets}/tls.key'}
c2s_direct_tls_ssl = {certificate = '{secrets}/tls.crt', key = '{secrets}/tls.key'}
VirtualHost 'localhost'
