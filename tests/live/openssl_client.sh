#!/bin/sh
# A SCEP enrolment with nothing but the openssl command (and curl to carry it): openssl_client.sh URL DIRECTORY CHALLENGE CN
# The signed attributes that `openssl cms` cannot write are built with `openssl asn1parse -genconf` and signed with
# `openssl dgst`; the envelope is `openssl cms -encrypt`, the reply is opened with `openssl cms -verify` and `-decrypt`.
set -eu
url=$1 directory=$2 challenge=$3 cn=$4
cd "$directory"

# GetCACert, and which of its certificates encrypts and which signs.
curl -sf "$url?operation=GetCACert" -o ca.p7
openssl pkcs7 -inform der -in ca.p7 -print_certs -outform pem | awk '/BEGIN CERT/{n++} n{print > ("ca-" n ".pem")}'
for file in ca-*.pem; do
    usage=$(openssl x509 -in "$file" -noout -ext keyUsage)
    case $usage in
        *"Key Encipherment"*) encrypt_to=$file ;;
        *"Certificate Sign"*) authority=$file ;;
    esac
done

# Key, PKCS#10 with challengePassword, self-signed certificate of the same key.
openssl genrsa -out key.pem 2048 2>/dev/null
cat >request.cnf <<CONF
[req]
prompt = no
distinguished_name = name
attributes = attributes
[name]
CN = $cn
[attributes]
challengePassword = $challenge
CONF
openssl req -new -config request.cnf -key key.pem -outform der -out request.der
openssl req -new -x509 -subj "/CN=$cn" -key key.pem -days 1 -set_serial 0x1001 -outform der -out self.der
openssl cms -encrypt -binary -aes128 -in request.der -outform der -out envelope.der "$encrypt_to"

# The signed attributes, in DER order of their encodings; signed as a SET.
transaction=$(openssl pkey -in key.pem -pubout -outform der | openssl dgst -sha256 -r | cut -c1-40)
nonce=$(openssl rand -hex 16)
digest=$(openssl dgst -sha256 -r envelope.der | cut -c1-64)
cat >attributes.cnf <<CONF
asn1 = SET:attributes
[attributes]
type = SEQUENCE:message_type
content = SEQUENCE:content_type
nonce = SEQUENCE:sender_nonce
digest = SEQUENCE:message_digest
transaction = SEQUENCE:transaction_id
[message_type]
oid = OID:2.16.840.1.113733.1.9.2
values = SET:message_type_value
[message_type_value]
value = PRINTABLESTRING:19
[content_type]
oid = OID:contentType
values = SET:content_type_value
[content_type_value]
value = OID:pkcs7-data
[sender_nonce]
oid = OID:2.16.840.1.113733.1.9.5
values = SET:sender_nonce_value
[sender_nonce_value]
value = FORMAT:HEX,OCTETSTRING:$nonce
[message_digest]
oid = OID:messageDigest
values = SET:message_digest_value
[message_digest_value]
value = FORMAT:HEX,OCTETSTRING:$digest
[transaction_id]
oid = OID:2.16.840.1.113733.1.9.7
values = SET:transaction_id_value
[transaction_id_value]
value = PRINTABLESTRING:$transaction
CONF
openssl asn1parse -genconf attributes.cnf -noout -out attributes.der
openssl dgst -sha256 -sign key.pem -out signature.bin attributes.der

# The SignedData around all of it. Raw octets go in as HEX; whole elements are spliced from files by their content.
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
element() { # ELEMENT-FILE: its content octets in hex, without tag and length
    head=$(openssl asn1parse -inform der -in "$1" | sed -n '1s/.*hl=\([0-9]*\).*/\1/p')
    tail -c +$((head + 1)) "$1" >content.bin
    hex content.bin
}
length() { # OCTETS: a definite length in hex
    if [ "$1" -lt 128 ]; then printf '%02x' "$1"
    elif [ "$1" -lt 256 ]; then printf '81%02x' "$1"
    else printf '82%04x' "$1"; fi
}
wrap() { # TAG HEX: one element in hex
    printf '%s%s%s' "$1" "$(length $((${#2} / 2)))" "$2"
}
openssl asn1parse -genstr OID:sha256 -noout -out sha256.der
openssl asn1parse -genstr OID:rsaEncryption -noout -out rsa.der
openssl asn1parse -genstr OID:pkcs7-data -noout -out data.der
openssl asn1parse -genstr OID:pkcs7-signedData -noout -out signed.der
algorithm=$(wrap 30 "$(hex sha256.der)0500")
issuer_at=$(openssl asn1parse -inform der -in self.der | awk '/cons: SEQUENCE/ && ++n == 4 {sub(":.*", ""); print $1; exit}')
openssl asn1parse -inform der -in self.der -strparse "$issuer_at" -noout -out issuer.der
signer=$(wrap 30 "020101$(wrap 30 "$(hex issuer.der)02021001")$algorithm$(wrap a0 "$(element attributes.der)")$(wrap 30 "$(hex rsa.der)0500")$(wrap 04 "$(hex signature.bin)")")
content=$(wrap 30 "$(hex data.der)$(wrap a0 "$(wrap 04 "$(hex envelope.der)")")")
signed_data=$(wrap 30 "020101$(wrap 31 "$algorithm")$content$(wrap a0 "$(hex self.der)")$(wrap 31 "$signer")")
# Hex becomes octets as the content of an OCTET STRING whose header is cut off again.
echo "asn1 = FORMAT:HEX,OCTETSTRING:$(wrap 30 "$(hex signed.der)$(wrap a0 "$signed_data")")" >message.cnf
openssl asn1parse -genconf message.cnf -noout -out wrapped.der
head=$(openssl asn1parse -inform der -in wrapped.der | sed -n '1s/.*hl=\([0-9]*\).*/\1/p')
tail -c +$((head + 1)) wrapped.der >message.der

curl -sf --data-binary @message.der -H 'Content-Type: application/x-pki-message' "$url?operation=PKIOperation" -o reply.der
openssl cms -verify -inform der -in reply.der -CAfile "$authority" -purpose any -out reply-content.der 2>verify.txt || {
    cat verify.txt >&2
    exit 1
}
if [ ! -s reply-content.der ]; then
    attribute() { # OID: the value of the attribute of that OID in the reply
        openssl asn1parse -inform der -in reply.der | grep -A2 ":$1\$" | sed -n '3s/.*STRING *://p'
    }
    echo "refused: failInfo $(attribute 2.16.840.1.113733.1.9.4) $(attribute 1.3.6.1.5.5.7.24.1)" >&2
    exit 1
fi
openssl x509 -inform der -in self.der -out self.pem
openssl cms -decrypt -inform der -in reply-content.der -recip self.pem -inkey key.pem -out degenerate.der
openssl pkcs7 -inform der -in degenerate.der -print_certs -outform pem | awk '/BEGIN CERT/{n++} n == 1{print} /END CERT/{if (n == 1) exit}' >cert.pem
