#!/bin/sh
# SCEP with nothing but the openssl command (and curl to carry it), in a directory of its own:
#   openssl_client.sh enroll URL DIRECTORY CHALLENGE CN    PKCSReq: key.pem and cert.pem
#   openssl_client.sh poll   URL DIRECTORY                 CertPoll, for what was pending (status 3): cert.pem
#   openssl_client.sh renew  URL DIRECTORY                 RenewalReq, signed with cert.pem: new-key.pem and new-cert.pem
# The signed attributes that `openssl cms` cannot write are built with `openssl asn1parse -genconf` and signed with
# `openssl dgst`; the envelope is `openssl cms -encrypt`, the reply is opened with `openssl cms -verify` and `-decrypt`.
set -eu
verb=$1 url=$2 directory=$3 challenge=${4-} cn=${5-}
cd "$directory"

# Raw octets go in as HEX; whole elements are spliced from files by their content.
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
header() { openssl asn1parse -inform der -in "$1" | sed -n '1s/.*hl=\([0-9]*\).*/\1/p'; }
element() { # ELEMENT-FILE: its content octets in hex, without tag and length
    tail -c +$(($(header "$1") + 1)) "$1" >content.bin
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
octets() { # HEX FILE: hex becomes octets, as the content of an OCTET STRING whose header is cut off again
    echo "asn1 = FORMAT:HEX,OCTETSTRING:$1" >octets.cnf
    openssl asn1parse -genconf octets.cnf -noout -out wrapped.der
    tail -c +$(($(header wrapped.der) + 1)) wrapped.der >"$2"
}
name_in() { # NUMBER FILE: in hex, that SEQUENCE of a certificate (4: the issuer) or of a PKCS#10 (3: the subject)
    at=$(openssl asn1parse -inform der -in "$2" | awk -v wanted="$1" '/cons: SEQUENCE/ && ++n == wanted {sub(":.*", ""); print $1; exit}')
    openssl asn1parse -inform der -in "$2" -strparse "$at" -noout -out name.der
    hex name.der
}
serial() { # CERTIFICATE-FILE: the content of its serialNumber in hex
    number=$(openssl x509 -inform der -in "$1" -noout -serial | sed 's/.*=//')
    case $number in
        [89A-F]*) printf '00%s' "$number" ;;
        *) printf '%s' "$number" ;;
    esac
}

authorities() { # GetCACert, and which of its certificates encrypts and which signs
    curl -sf "$url?operation=GetCACert" -o ca.p7
    if openssl x509 -inform der -in ca.p7 -out ca-1.pem 2>single.txt; then # one certificate: the CA is its own RA
        encrypt_to=ca-1.pem authority=ca-1.pem
        return
    fi
    openssl pkcs7 -inform der -in ca.p7 -print_certs -outform pem | awk '/BEGIN CERT/{n++} n{print > ("ca-" n ".pem")}'
    for file in ca-*.pem; do
        usage=$(openssl x509 -in "$file" -noout -ext keyUsage)
        case $usage in
            *"Key Encipherment"*) encrypt_to=$file ;;
            *"Certificate Sign"*) authority=$file ;;
        esac
    done
}

request() { # KEY: request.der, a PKCS#10 with the common name and, where there is one, challengePassword
    cat >request.cnf <<CONF
[req]
prompt = no
distinguished_name = name
${challenge:+attributes = attributes}
[name]
CN = $cn
[attributes]
${challenge:+challengePassword = $challenge}
CONF
    openssl req -new -config request.cnf -key "$1" -outform der -out request.der
    openssl pkey -in "$1" -pubout -outform der | openssl dgst -sha256 -r | cut -c1-40 >transaction
}

send() { # MESSAGE-TYPE CONTENT-FILE SIGNER-CERTIFICATE SIGNER-KEY: reply.der
    openssl cms -encrypt -binary -aes128 -in "$2" -outform der -out envelope.der "$encrypt_to"
    # The signed attributes, in DER order of their encodings; signed as a SET.
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
value = PRINTABLESTRING:$1
[content_type]
oid = OID:contentType
values = SET:content_type_value
[content_type_value]
value = OID:pkcs7-data
[sender_nonce]
oid = OID:2.16.840.1.113733.1.9.5
values = SET:sender_nonce_value
[sender_nonce_value]
value = FORMAT:HEX,OCTETSTRING:$(openssl rand -hex 16)
[message_digest]
oid = OID:messageDigest
values = SET:message_digest_value
[message_digest_value]
value = FORMAT:HEX,OCTETSTRING:$(openssl dgst -sha256 -r envelope.der | cut -c1-64)
[transaction_id]
oid = OID:2.16.840.1.113733.1.9.7
values = SET:transaction_id_value
[transaction_id_value]
value = PRINTABLESTRING:$(cat transaction)
CONF
    openssl asn1parse -genconf attributes.cnf -noout -out attributes.der
    openssl dgst -sha256 -sign "$4" -out signature.bin attributes.der

    # The SignedData around all of it.
    openssl asn1parse -genstr OID:sha256 -noout -out sha256.der
    openssl asn1parse -genstr OID:rsaEncryption -noout -out rsa.der
    openssl asn1parse -genstr OID:pkcs7-data -noout -out data.der
    openssl asn1parse -genstr OID:pkcs7-signedData -noout -out signed.der
    algorithm=$(wrap 30 "$(hex sha256.der)0500")
    sid=$(wrap 30 "$(name_in 4 "$3")$(wrap 02 "$(serial "$3")")")
    signer=$(wrap 30 "020101$sid$algorithm$(wrap a0 "$(element attributes.der)")$(wrap 30 "$(hex rsa.der)0500")$(wrap 04 "$(hex signature.bin)")")
    content=$(wrap 30 "$(hex data.der)$(wrap a0 "$(wrap 04 "$(hex envelope.der)")")")
    signed_data=$(wrap 30 "020101$(wrap 31 "$algorithm")$content$(wrap a0 "$(hex "$3")")$(wrap 31 "$signer")")
    octets "$(wrap 30 "$(hex signed.der)$(wrap a0 "$signed_data")")" message.der
    curl -sf --data-binary @message.der -H 'Content-Type: application/x-pki-message' "$url?operation=PKIOperation" -o reply.der
}

attribute() { # OID: the value of the attribute of that OID in the reply
    openssl asn1parse -inform der -in reply.der | grep -A2 ":$1\$" | sed -n '3s/.*STRING *://p'
}

receive() { # SIGNER-CERTIFICATE SIGNER-KEY OUT: the certificate of a SUCCESS
    openssl cms -verify -inform der -in reply.der -CAfile "$authority" -purpose any -out reply-content.der 2>verify.txt || {
        cat verify.txt >&2
        exit 1
    }
    case $(attribute 2.16.840.1.113733.1.9.3) in
        0) ;;
        3)
            echo "pending: transaction $(cat transaction)" >&2
            exit 3
            ;;
        *)
            echo "refused: failInfo $(attribute 2.16.840.1.113733.1.9.4) $(attribute 1.3.6.1.5.5.7.24.1)" >&2
            exit 1
            ;;
    esac
    openssl x509 -inform der -in "$1" -out signer.pem
    openssl cms -decrypt -inform der -in reply-content.der -recip signer.pem -inkey "$2" -out degenerate.der
    openssl pkcs7 -inform der -in degenerate.der -print_certs -outform pem | awk '/BEGIN CERT/{n++} n == 1{print} /END CERT/{if (n == 1) exit}' >"$3"
}

authorities
case $verb in
    enroll) # the PKCS#10 is signed by a new key, the message by a self-signed certificate of the same key
        openssl genrsa -out key.pem 2048 2>/dev/null
        request key.pem
        openssl req -new -x509 -subj "/CN=$cn" -key key.pem -days 1 -set_serial 0x1001 -outform der -out self.der
        send 19 request.der self.der key.pem
        receive self.der key.pem cert.pem
        ;;
    poll) # IssuerAndSubject: the CA's name and that of the request
        openssl x509 -in "$authority" -outform der -out authority.der
        octets "$(wrap 30 "$(name_in 4 authority.der)$(name_in 3 request.der)")" poll.der
        send 20 poll.der self.der key.pem
        receive self.der key.pem cert.pem
        ;;
    renew) # a new key, the message signed with the old certificate
        cn=$(openssl x509 -in cert.pem -noout -subject -nameopt multiline | sed -n 's/.*commonName *= //p')
        openssl genrsa -out new-key.pem 2048 2>/dev/null
        request new-key.pem
        openssl x509 -in cert.pem -outform der -out old.der
        send 17 request.der old.der key.pem
        receive old.der key.pem new-cert.pem
        ;;
esac
