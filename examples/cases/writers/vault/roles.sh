#!/bin/sh
# Configures Vault or OpenBao for the manifests of this folder: the database engine, the
# login of the operators, and a role. Choose a role with its argument. MariaDB's account
# "vault" needs CREATE USER, SELECT on mysql.global_priv (for the role "two"), and the
# privileges of the app WITH GRANT OPTION (for the role "dynamic").
set -eu

vault secrets enable database || true
vault auth enable kubernetes || true
vault write auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc
vault write database/config/shop plugin_name=mysql-database-plugin \
  connection_url='{{username}}:{{password}}@tcp(mariadb:3306)/' \
  username=vault password="$VAULT_DATABASE_PASSWORD" allowed_roles=shop

vault policy write shop - <<'POLICY'
path "database/static-creds/shop" { capabilities = ["read"] }
path "database/creds/shop" { capabilities = ["read"] }
POLICY
# A lease ends with the login token that created it. A renewal extends a periodic token without a limit.
vault write auth/kubernetes/role/shop bound_service_account_names=vault-reader \
  bound_service_account_namespaces=shop audience=vault token_policies=shop token_period=2h

case "${1:?static, two, two-mysql or dynamic}" in
static) # One valid password: queries fail until the app has reloaded.
  vault write database/static-roles/shop db_name=shop username=app rotation_period=24h ;;
two) # MariaDB: two authentication methods keep the former password until the next rotation.
  vault write database/static-roles/shop db_name=shop username=app rotation_period=24h rotation_statements=- <<'SQL'
SET @former = (SELECT JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv WHERE User = '{{username}}' AND Host = '%');
EXECUTE IMMEDIATE CONCAT('ALTER USER ''{{username}}''@''%'' IDENTIFIED VIA mysql_native_password USING PASSWORD(''{{password}}'') OR mysql_native_password USING ''', @former, '''');
SQL
  ;;
two-mysql) # MySQL 8: a secondary password.
  vault write database/static-roles/shop db_name=shop username=app rotation_period=24h \
    rotation_statements="ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}' RETAIN CURRENT PASSWORD;" ;;
dynamic) # A new user for each lease.
  vault write database/roles/shop db_name=shop default_ttl=1h max_ttl=1h \
    creation_statements="CREATE USER '{{username}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO '{{username}}'@'%';" ;;
*) echo "unknown role $1" >&2; exit 2 ;;
esac
